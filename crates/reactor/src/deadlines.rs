//! When to look at what: at most one deadline for each key, in the order of time.

use std::collections::BTreeSet;
use std::time::Instant;

/// Deadlines by key. A key that has none, or a later one, costs nothing when others expire.
///
/// They are re-armed lazily: [`Deadlines::arm`] keeps an earlier deadline, so one that moves on with every request costs
/// a comparison. Whoever takes an expired key compares with the true deadline, and arms it again if that is later.
#[derive(Debug, Default)]
pub struct Deadlines {
    queue: BTreeSet<(Instant, usize)>,
    /// By key: what is in the queue.
    armed: Vec<Option<Instant>>,
}

impl Deadlines {
    /// Makes sure that `key` expires at `deadline`, or earlier. Keys index a table, so they should be dense.
    #[inline]
    pub fn arm(&mut self, key: usize, deadline: Instant) {
        if self.armed.get(key).copied().flatten().is_none_or(|armed| armed > deadline) {
            self.insert(key, deadline);
        }
    }

    fn insert(&mut self, key: usize, deadline: Instant) {
        if key >= self.armed.len() {
            self.armed.resize(key + 1, None);
        }
        if let Some(armed) = self.armed[key].replace(deadline) {
            self.queue.remove(&(armed, key));
        }
        self.queue.insert((deadline, key));
    }

    /// Forgets the deadline of `key`, if it has one.
    pub fn disarm(&mut self, key: usize) {
        if let Some(armed) = self.armed.get_mut(key).and_then(Option::take) {
            self.queue.remove(&(armed, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(deadline, _)| deadline)
    }

    /// Takes a key whose deadline has passed at `now`, the earliest first.
    pub fn take_expired(&mut self, now: Instant) -> Option<usize> {
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
    use std::time::Duration;

    use super::*;

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
