//! The system calls of an event loop, as a trait.

pub(crate) mod linux;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

pub(crate) use reactor::Interest;
pub(crate) use rustix::io::Errno;

/// The kernel, as one event loop sees it. Sockets do not block.
///
/// There are two implementations: the real kernel and the simulated one. Each method makes one system call or none. Any of
/// them may fail with [`Errno::INTR`].
pub(crate) trait Kernel {
    /// A socket that listens.
    type Listener;
    /// A connected socket.
    type Socket;
    /// Ends this event loop's wait from any thread.
    type Waker: Wake + Clone;

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// Waits until something is ready, at most until `deadline`, and stores what is ready in `ready`. It may return early with
    /// nothing, report something that is no longer ready, and leave something for the next call.
    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Instant>) -> io::Result<()>;

    /// A waker of this event loop.
    fn waker(&self) -> Self::Waker;

    /// Resets the waker, so that it is no longer ready.
    fn acknowledge_wake(&mut self);

    /// Reports when `listener` has a connection, as [`Ready::Listener`] with this index.
    fn watch_listener(&mut self, listener: &Self::Listener, index: usize) -> Result<(), Errno>;

    /// No longer reports `listener`.
    fn forget_listener(&mut self, listener: &Self::Listener) -> Result<(), Errno>;

    /// Closes a listener. Connections in its queue are reset unless another process holds it too.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Takes the first connection from the queue of `listener`: accept(2).
    fn accept(&mut self, listener: &Self::Listener) -> Result<(Self::Socket, SocketAddr), Errno>;

    /// Reports when `socket` is ready for `interest`, as [`Ready::Connection`] with this key, until it is closed.
    fn watch(&mut self, socket: &Self::Socket, key: usize, interest: Interest) -> Result<(), Errno>;

    /// Changes what a watched socket is watched for.
    fn change(&mut self, socket: &Self::Socket, key: usize, interest: Interest) -> Result<(), Errno>;

    /// No longer reports `socket`.
    fn forget(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// How many sent bytes the peer's host has not acknowledged: SIOCOUTQ of tcp(7).
    fn undelivered(&mut self, socket: &Self::Socket) -> usize;

    /// recv(2): 0 is the end of the stream.
    fn receive(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// send(2): returns how many bytes the kernel has taken.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> Result<usize, Errno>;

    /// Sends FIN after what has been sent: shutdown(2).
    fn shut_down(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// Closes with FIN, or with RST if bytes are unread. The kernel goes on delivering what has been sent.
    fn close(&mut self, socket: Self::Socket);

    /// Closes with RST, and drops what has not been delivered.
    fn reset(&mut self, socket: Self::Socket);
}

/// Ends the wait of an event loop.
pub(crate) trait Wake {
    /// The next wait, or the one under way, reports [`Ready::Waker`].
    fn wake(&self);
}

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A connection, by its key.
    Connection(usize),
    /// A listener, by its index.
    Listener(usize),
    /// The waker.
    Waker,
}

/// Calls again until a signal no longer interrupts.
#[inline]
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
