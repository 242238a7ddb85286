//! Ends the wait of an event loop from another thread: eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

/// Readable from [`Waker::wake`] until [`Waker::acknowledge`]. Clones are the same waker.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A waker that is not readable yet.
    ///
    /// # Errors
    ///
    /// If the process or the host has too many open files.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Makes it readable.
    pub fn wake(&self) {
        // It fails only after 2^64 calls without an acknowledgement.
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable. Does nothing if it was not readable.
    pub fn acknowledge(&self) {
        let _ = read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
