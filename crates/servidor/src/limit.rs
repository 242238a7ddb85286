//! Limits how many connections are served at the same time: a semaphore whose limit can change.

use daemon::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Permits to serve a connection.
#[derive(Debug)]
pub struct ConnectionLimit {
    limit: AtomicUsize,
    active: AtomicUsize,
    /// Whether the acceptor waits for a permit.
    awaited: AtomicBool,
}

impl ConnectionLimit {
    pub(crate) fn new(limit: usize) -> Self {
        let (limit, active) = (AtomicUsize::new(limit), AtomicUsize::new(0));
        Self { limit, active, awaited: AtomicBool::new(false) }
    }

    /// Changes the limit. If it becomes lower, open connections stay, and no new one is accepted until enough have ended.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether a permit is free. Only the acceptor takes permits, so a free one stays free until the acceptor takes it.
    pub(crate) fn has_free(&self) -> bool {
        self.active() < self.limit()
    }

    /// Whether a permit is free. If not, [`ConnectionLimit::take_awaited`] returns true once after one has been released.
    pub(crate) fn await_free(&self) -> bool {
        // Of two swaps, the later one sees what its thread's counterpart did before the earlier one. If that is this one,
        // it sees the permit; if not, `take_awaited` sees that it is awaited.
        self.awaited.swap(true, Ordering::AcqRel);
        self.has_free()
    }

    /// Whether the acceptor waits for a permit and must be woken. Call this after each release.
    pub(crate) fn take_awaited(&self) -> bool {
        self.awaited.swap(false, Ordering::AcqRel)
    }

    /// Takes a permit even if none is free: at a stop, queued connections are served beyond the limit.
    pub(crate) fn acquire(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a permit.
    pub(crate) fn release(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many permits are taken.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// How many permits there are.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acceptor_is_woken_once_for_each_time_that_it_has_found_no_permit() {
        let limit = ConnectionLimit::new(1);
        limit.acquire();
        limit.release();
        assert!(!limit.take_awaited(), "nobody waits");
        limit.acquire();
        assert!(!limit.await_free());
        limit.release();
        assert_eq!([limit.take_awaited(), limit.take_awaited()], [true, false]);
    }
}
