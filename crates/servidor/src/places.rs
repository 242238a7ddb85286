//! The places that connections take, and the limit, which can change while they are taken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::bell::Bell;

/// How many connections there are, and how many there may be.
pub struct Places {
    limit: AtomicUsize,
    active: AtomicUsize,
    /// Whether to ring when a place is free.
    awaited: AtomicBool,
    freed: OnceLock<Bell>,
}

/// A place taken, until it is dropped.
pub struct Place(Arc<Places>);

impl Places {
    /// `limit` free places.
    pub fn new(limit: usize) -> Arc<Self> {
        let (limit, active) = (AtomicUsize::new(limit), AtomicUsize::new(0));
        Arc::new(Self { limit, active, awaited: AtomicBool::new(false), freed: OnceLock::new() })
    }

    /// Changes the limit. Connections beyond a lower one stay; none is added until enough have left.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether a place is free. Only one event loop takes places, so nothing can come between look and leap.
    pub fn any_free(&self) -> bool {
        self.active() < self.limit()
    }

    /// Has `bell` rung when a place is free again; see [`Places::await_free`].
    pub fn ring_when_free(&self, bell: Bell) {
        let _ = self.freed.set(bell);
    }

    /// Whether a place is free; if not, the bell will ring once when one is.
    pub fn await_free(&self) -> bool {
        // In this order, and the reverse when a place is freed: one of the two sees what the other did.
        self.awaited.store(true, Ordering::SeqCst);
        self.any_free()
    }

    /// Takes a place, free or not: those who wait when the daemon stops are served beyond the limit.
    pub fn take(self: &Arc<Self>) -> Place {
        self.active.fetch_add(1, Ordering::SeqCst);
        Place(Arc::clone(self))
    }

    /// How many are taken.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
        if self.0.awaited.load(Ordering::SeqCst)
            && self.0.awaited.swap(false, Ordering::SeqCst)
            && let Some(bell) = self.0.freed.get()
        {
            bell.ring();
        }
    }
}
