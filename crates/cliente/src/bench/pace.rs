//! When requests are due, how many there are, and which of them are measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The times of a run, the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The first request.
    pub(super) begin: Instant,
    /// What began earlier warmed up.
    pub(super) measured_from: Instant,
    /// No request is begun later.
    pub(super) until: Instant,
}

/// How many measured requests may still be begun, shared by all threads.
#[derive(Debug)]
pub(super) struct Quota(Option<AtomicU64>);

impl Quota {
    /// Without `requests` there is no limit.
    pub(super) fn new(requests: Option<u64>) -> Self {
        Self(requests.map(AtomicU64::new))
    }

    /// Takes up to `most` requests, or what is left.
    pub(super) fn take(&self, most: usize) -> usize {
        let Some(left) = &self.0 else { return most };
        let subtract = |left: u64| Some(left.saturating_sub(most as u64));
        let left = left.fetch_update(Relaxed, Relaxed, subtract).unwrap_or_default();
        usize::try_from(left).map_or(most, |left| left.min(most))
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Relaxed) == 0)
    }
}

/// Requests that fall due at a fixed rate, whatever became of those before, so that a stall shows in each of them.
///
/// They fall to the connections of a thread in turn, so when each was due is known without keeping it.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoop {
    first: Instant,
    /// Nanoseconds. A fraction of one adds up at high rates.
    interval: f64,
    connections: u64,
    fallen_due: u64,
}

impl OpenLoop {
    /// Thread `index` of `threads` gets its share of `rate` a second, and begins between those of the others.
    pub(super) fn new(
        begin: Instant,
        rate: f64,
        (index, threads): (usize, usize),
        connections: usize,
    ) -> Self {
        let interval = 1e9 / rate;
        let first = begin + nanoseconds(interval * float(index as u64));
        let connections = connections as u64;
        Self { first, interval: interval * float(threads as u64), connections, fallen_due: 0 }
    }

    /// When the next request falls due.
    pub(super) fn next_due(&self) -> Instant {
        self.due(self.fallen_due)
    }

    /// The connection of a request that is due at `now`, and was before `until`.
    pub(super) fn take_due(&mut self, now: Instant, until: Instant) -> Option<usize> {
        let due = self.next_due();
        (due <= now && due < until).then(|| {
            let connection = self.fallen_due % self.connections;
            self.fallen_due += 1;
            usize::try_from(connection).expect("it was a usize")
        })
    }

    /// When the `nth` request of `connection` was due.
    pub(super) fn due_on(&self, connection: usize, nth: u64) -> Instant {
        self.due(nth * self.connections + connection as u64)
    }

    fn due(&self, nth: u64) -> Instant {
        self.first + nanoseconds(self.interval * float(nth))
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests are never reached")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a run are small and positive"
)]
fn nanoseconds(count: f64) -> Duration {
    Duration::from_nanos(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_gets_its_share_at_its_times() {
        let begin = Instant::now();
        let mut open = OpenLoop::new(begin, 1000.0, (1, 2), 3);
        let until = begin + Duration::from_millis(20);
        let mut counts = [0; 3];
        while let Some(connection) = open.take_due(begin + Duration::from_secs(1), until) {
            let nth = counts.iter().sum::<u64>();
            let expected = begin + Duration::from_millis(1 + 2 * nth);
            assert_eq!(open.due_on(connection, counts[connection]), expected);
            counts[connection] += 1;
        }
        // At 1, 3, … 19 ms.
        assert_eq!(counts, [4, 3, 3]);
    }

    #[test]
    fn a_quota_is_used_up_exactly() {
        let quota = Quota::new(Some(20));
        assert_eq!([16, 16, 16].map(|most| quota.take(most)), [16, 4, 0]);
        assert!(quota.is_used_up());
        let unlimited = Quota::new(None);
        assert_eq!((unlimited.take(16), unlimited.is_used_up()), (16, false));
    }

    #[test]
    fn nothing_falls_due_early() {
        let begin = Instant::now();
        let mut open = OpenLoop::new(begin, 1000.0, (0, 1), 1);
        let until = begin + Duration::from_secs(1);
        assert_eq!(open.take_due(begin, until), Some(0));
        assert_eq!(open.take_due(begin, until), None);
        assert_eq!(open.next_due(), begin + Duration::from_millis(1));
    }
}
