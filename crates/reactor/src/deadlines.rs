//! Deadlines of an event loop: at most one for each key, ordered by time.

use std::collections::BTreeSet;
use std::time::Instant;

/// Deadlines by key. Keys without a deadline, or with a later one, cost nothing when others expire.
///
/// Deadlines are re-armed lazily: [`Deadlines::arm`] keeps an earlier deadline, so moving a deadline with every request
/// costs one comparison. The caller compares an expired key with its true deadline, and arms it again if that is later.
///
/// `T` is the time. Only the test that counts comparisons uses another type than [`Instant`].
#[derive(Debug)]
pub struct Deadlines<T = Instant> {
    queue: BTreeSet<(T, usize)>,
    /// By key: its deadline in the queue.
    armed: Vec<Option<T>>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), armed: Vec::new() }
    }
}

impl<T: Copy + Ord> Deadlines<T> {
    /// Makes sure that `key` expires at `deadline` or earlier. Keys are indices, so they should be dense.
    #[inline]
    pub fn arm(&mut self, key: usize, deadline: T) {
        if self.armed.get(key).copied().flatten().is_none_or(|armed| armed > deadline) {
            self.insert(key, deadline);
        }
    }

    fn insert(&mut self, key: usize, deadline: T) {
        if key >= self.armed.len() {
            self.armed.resize(key + 1, None);
        }
        if let Some(armed) = self.armed[key].replace(deadline) {
            self.queue.remove(&(armed, key));
        }
        self.queue.insert((deadline, key));
    }

    /// Removes the deadline of `key`, if it has one.
    pub fn disarm(&mut self, key: usize) {
        if let Some(armed) = self.armed.get_mut(key).and_then(Option::take) {
            self.queue.remove(&(armed, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<T> {
        self.queue.first().map(|&(deadline, _)| deadline)
    }

    /// Takes a key whose deadline has passed at `now`, the earliest first.
    pub fn take_expired(&mut self, now: T) -> Option<usize> {
        let &(deadline, key) = self.queue.first()?;
        if deadline > now {
            return None;
        }
        self.disarm(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;
    use std::time::Duration;

    use super::*;

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// A time in seconds that counts how often it is compared.
    #[derive(Clone, Copy, Debug)]
    struct CountingTime(u64);

    impl Ord for CountingTime {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for CountingTime {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for CountingTime {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for CountingTime {}

    /// How many comparisons a busy key costs with `idle` other keys: a thousand turns of an event loop, of which every
    /// tenth finds the deadline of the busy key expired.
    fn comparisons_with(idle: usize) -> u64 {
        let mut deadlines = Deadlines::default();
        for key in 1..=idle {
            deadlines.arm(key, CountingTime(1_000_000));
        }
        COMPARISONS.set(0);
        for now in 0..1000 {
            deadlines.arm(0, CountingTime(now + 10));
            while let Some(key) = deadlines.take_expired(CountingTime(now)) {
                assert_eq!(key, 0, "the others are idle");
            }
            assert!(deadlines.next().is_some());
        }
        COMPARISONS.get()
    }

    // Only comparisons can show whether a deadline has passed, or which one is the earliest. So a walk through all
    // deadlines, in any of the three calls, would make a thousand times as many comparisons with 10,000 idle keys as with
    // 10. A search tree only makes more of them when it inserts or removes, by the logarithm of its size.
    #[test]
    fn idle_keys_cost_a_busy_one_next_to_nothing() {
        let [few, many] = [10, 10_000].map(comparisons_with);
        assert!(many <= 10 * few, "{few} comparisons with 10 idle keys, {many} with 10,000");
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn keys_expire_in_the_order_of_time_and_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        for (key, seconds) in [(4, 3), (0, 1), (2, 2), (1, 9)] {
            deadlines.arm(key, at(start, seconds));
        }
        assert_eq!(deadlines.next(), Some(at(start, 1)));
        let now = at(start, 3);
        let expired: Vec<usize> = std::iter::from_fn(|| deadlines.take_expired(now)).collect();
        assert_eq!(expired, [0, 2, 4]);
        assert_eq!(deadlines.next(), Some(at(start, 9)));
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one_and_not_the_reverse() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.arm(0, at(start, 5));
        deadlines.arm(0, at(start, 8));
        assert_eq!(deadlines.next(), Some(at(start, 5)));
        deadlines.arm(0, at(start, 2));
        assert_eq!(deadlines.take_expired(at(start, 2)), Some(0));
        assert_eq!(deadlines.next(), None, "one deadline for each key");
    }

    #[test]
    fn a_disarmed_key_does_not_expire() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.arm(3, start);
        deadlines.disarm(3);
        deadlines.disarm(7);
        assert_eq!(deadlines.take_expired(start), None);
    }
}
