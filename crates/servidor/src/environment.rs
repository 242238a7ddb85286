//! What connections find in their event loop: kernel, clock, settings, stop, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::context::Context;
use crate::drain::Drain;
use crate::kernel::{Kernel, Wake as _};
use crate::metrics::LoopMetrics;
use crate::settings::Own;

/// See the module.
pub(crate) struct Environment<K: Kernel> {
    pub(crate) kernel: K,
    /// The last reading of the clock. Whoever reads the clock leaves it here.
    pub(crate) now: Instant,
    pub(crate) settings: Arc<Own>,
    pub(crate) drain: Option<Drain>,
    pub(crate) context: Arc<Context>,
    /// The index of the event loop.
    pub(crate) event_loop: usize,
    connections: Arc<AtomicUsize>,
    /// Wakes the event loop that accepts, unless this is it.
    acceptor: Option<K::Waker>,
}

impl<K: Kernel> Environment<K> {
    /// The environment of the event loop with this index, which has as many `connections` as the counter says.
    pub(crate) fn new(
        kernel: K,
        event_loop: usize,
        connections: Arc<AtomicUsize>,
        acceptor: Option<K::Waker>,
        settings: Arc<Own>,
        context: Arc<Context>,
    ) -> Self {
        let now = kernel.now();
        Self { kernel, now, settings, drain: None, context, event_loop, connections, acceptor }
    }

    /// What this event loop counts.
    #[inline]
    pub(crate) fn metrics(&self) -> &LoopMetrics {
        self.context.metrics.of(self.event_loop)
    }

    /// How many connections this event loop has, or will find in its inbox.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A connection that was accepted here is served here.
    pub(crate) fn connection_added(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has ended, and its permit is free.
    pub(crate) fn connection_ended(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        // The event loop that accepts looks for permits at the end of each turn.
        if let Some(acceptor) = &self.acceptor
            && self.context.limit.take_awaited()
        {
            acceptor.wake();
        }
    }
}
