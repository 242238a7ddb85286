//! What an event loop shares with the connection that it serves: kernel, clock, buffers, settings, drain, counters.

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
/// Once this many bytes of replies are collected, they are sent, even if requests are left. This limits what a peer can make
/// the server hold.
pub(crate) const WRITE_SIZE: usize = 8 * 1024;

/// See the module. Idle connections have no buffers of their own.
pub(crate) struct Environment<K: Kernel> {
    pub(crate) kernel: K,
    /// The last reading of the clock. All code that reads the clock stores it here.
    pub(crate) now: Instant,
    /// A partial line, the bytes read after it, and room for zeros: see `answer_lines`.
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

    /// The counters of this event loop.
    #[inline]
    pub(crate) fn metrics(&self) -> &LoopMetrics {
        self.context.metrics.of(self.event_loop)
    }
}
