//! What an event loop lends to the connection that it serves: kernel, clock, buffers, settings, stop, counters.

use std::sync::Arc;
use std::time::Instant;

use protocol::{MAX_LINE, MAX_REPLY, WINDOW};

use crate::context::Context;
use crate::drain::Drain;
use crate::kernel::Kernel;
use crate::metrics::LoopMetrics;
use crate::settings::Own;

/// The most that is read at once.
pub(crate) const READ_SIZE: usize = 16 * 1024;
/// Replies are sent when there are so many bytes of them, even if requests are left. Bounds what a peer can make us hold.
pub(crate) const WRITE_SIZE: usize = 8 * 1024;

/// See the module. Idle connections have no buffers of their own.
pub(crate) struct Environment<K: Kernel> {
    pub(crate) kernel: K,
    /// The last reading of the clock. Whoever reads the clock leaves it here.
    pub(crate) now: Instant,
    /// A partial line, what is read behind it, and room for zeros: see `answer_lines`.
    pub(crate) input: Box<[u8]>,
    /// Replies.
    pub(crate) output: Vec<u8>,
    pub(crate) settings: Arc<Own>,
    pub(crate) drain: Option<Drain>,
    pub(crate) context: Arc<Context>,
    /// The index of the event loop.
    pub(crate) event_loop: usize,
    /// Wakes the event loop that accepts, unless this is it.
    pub(crate) acceptor: Option<K::Waker>,
}

impl<K: Kernel> Environment<K> {
    /// The environment of the event loop with this index.
    pub(crate) fn new(kernel: K, settings: Arc<Own>, context: Arc<Context>, event_loop: usize) -> Self {
        Self {
            now: kernel.now(),
            kernel,
            input: vec![0; MAX_LINE + READ_SIZE + WINDOW].into(),
            output: Vec::with_capacity(WRITE_SIZE + MAX_REPLY),
            settings,
            drain: None,
            context,
            event_loop,
            acceptor: None,
        }
    }

    /// What this event loop counts.
    #[inline]
    pub(crate) fn metrics(&self) -> &LoopMetrics {
        self.context.metrics.of(self.event_loop)
    }
}
