//! A connection's permit, and its entries in metrics and log. It is counted and logged when it begins, and once when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::log::Peer;
use crate::metrics::CloseReason;

/// The record of a connection that is being served, until it ends or is dropped. It holds a permit.
pub(crate) struct ConnectionRecord {
    pub(crate) peer: Peer,
    /// How many requests were answered.
    pub(crate) requests: u64,
    pub(crate) began: Instant,
    context: Arc<Context>,
    /// The index of its event loop.
    event_loop: usize,
    has_ended: bool,
}

impl ConnectionRecord {
    /// Takes a permit, and counts a connection of this event loop.
    pub(crate) fn begin(context: &Arc<Context>, event_loop: usize, peer: Peer, now: Instant) -> Self {
        context.limit.acquire();
        context.metrics.of(event_loop).connection_served();
        context.log.connection_established(peer);
        Self { peer, requests: 0, began: now, context: Arc::clone(context), event_loop, has_ended: false }
    }

    /// Ends it, and releases the permit.
    pub(crate) fn end(mut self, reason: CloseReason, now: Instant) {
        self.conclude(reason, now.saturating_duration_since(self.began));
    }

    fn conclude(&mut self, reason: CloseReason, duration: Duration) {
        self.has_ended = true;
        self.context.metrics.of(self.event_loop).connection_closed(reason);
        self.context.log.connection_closed(self.peer, reason, self.requests, duration);
        self.context.limit.release();
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        if !self.has_ended {
            // Its event loop has panicked, and can no longer read the clock.
            self.conclude(CloseReason::Forced, Duration::ZERO);
        }
    }
}
