//! The parts of an event loop on Linux: readiness by epoll, wake-ups from other threads, deadlines.
//!
//! [`Poller`] waits, [`Waker`] ends the wait from another thread, and [`Deadlines`] decides how long to wait. The caller
//! owns the loop, the sockets and the clock. ARCHITECTURE.md explains why this is neither mio nor polling.

mod deadlines;
mod poller;
mod waker;

pub use deadlines::Deadlines;
pub use poller::{Interest, Poller, Ready};
pub use waker::Waker;
