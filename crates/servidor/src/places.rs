//! The places that connections take, and the limit, which can change while they are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;
use tokio::sync::Notify;

/// How many connections there are, and how many there may be.
pub struct Places {
    limit: AtomicUsize,
    active: AtomicUsize,
    freed: Notify,
    active_gauge: Gauge,
    limit_gauge: Gauge,
}

/// A place taken, until it is dropped.
pub struct Place(Arc<Places>);

impl Places {
    /// `limit` free places, shown in the two gauges.
    pub fn new(limit: usize, active_gauge: Gauge, limit_gauge: Gauge) -> Arc<Self> {
        let places = Self {
            limit: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            freed: Notify::new(),
            active_gauge,
            limit_gauge,
        };
        places.set_limit(limit);
        Arc::new(places)
    }

    /// Changes the limit. Connections beyond a lower one stay; none is added until enough have left.
    #[expect(clippy::cast_precision_loss, reason = "a gauge; the limit is far below 2^52")]
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.limit_gauge.set(limit as f64);
        self.freed.notify_one();
    }

    /// Whether a place is free. Only the accept task takes places, so nothing can come between look and leap.
    pub fn any_free(&self) -> bool {
        self.active() < self.limit()
    }

    /// Waits until a place is free.
    pub async fn free(&self) {
        while !self.any_free() {
            self.freed.notified().await;
        }
    }

    /// Takes a place, free or not: those who wait when the daemon stops are served beyond the limit.
    pub fn take(self: &Arc<Self>) -> Place {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.active_gauge.increment(1);
        Place(Arc::clone(self))
    }

    /// How many are taken.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active_gauge.decrement(1);
        self.0.active.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}
