//! The real kernel: epoll(7), accept4(2), recv(2), send(2), shutdown(2), without wrappers.
//!
//! The standard library calls the C library, which prepares each call for the cancellation of its thread. That costs one
//! percent of a request, and nothing here cancels threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use reactor::{Poller, Waker};
use rustix::ffi::c_int;
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, acceptfrom_with, recv, send, shutdown, sockopt,
};

use super::{Errno, Interest, Kernel, Ready, Wake};

/// Tokens that are larger than all keys of connections.
const WAKER: u64 = u64::MAX;
const LISTENERS: u64 = 1 << 63;

/// An accepted socket.
pub(crate) struct Socket(OwnedFd);

/// See the module.
pub(crate) struct Linux {
    poller: Poller,
    waker: Waker,
    reported: Vec<reactor::Ready>,
    /// Why the next wait fails, if it does.
    failure: Option<io::Error>,
}

impl Linux {
    /// A poller and a waker: two files.
    ///
    /// # Errors
    ///
    /// If the process or the host has too many open files.
    pub(crate) fn new() -> io::Result<Self> {
        let (poller, waker) = (Poller::new()?, Waker::new()?);
        poller.watch(&waker, WAKER, Interest::Read)?;
        Ok(Self { poller, waker, reported: Vec::new(), failure: None })
    }

    /// Takes note of an error that only a bug can cause: a descriptor that is not ours any more, or a wrong argument. This
    /// process could now send a reply to the wrong peer, so it does not go on: the next wait fails.
    #[inline]
    fn checked<T>(&mut self, call: &str, outcome: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(error @ (Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK)) = outcome {
            self.failed(call, error);
        }
        outcome
    }

    #[cold]
    fn failed(&mut self, call: &str, error: Errno) {
        let problem = format!("{call}: {error}");
        self.failure.get_or_insert_with(|| io::Error::new(io::Error::from(error).kind(), problem));
    }
}

impl Kernel for Linux {
    type Listener = TcpListener;
    type Socket = Socket;
    type Waker = Waker;

    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Instant>) -> io::Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        // Rounded up to whole milliseconds: every kernel and every seccomp filter allows such waits.
        let timeout =
            deadline.map(|deadline| whole_milliseconds(deadline.saturating_duration_since(self.now())));
        self.poller.wait(&mut self.reported, timeout)?;
        ready.clear();
        ready.extend(self.reported.iter().map(|ready| Ready::from_token(ready.token)));
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn acknowledge_wake(&mut self) {
        self.waker.acknowledge();
    }

    fn watch_listener(&mut self, listener: &TcpListener, index: usize) -> Result<(), Errno> {
        let watched = self.poller.watch(listener, LISTENERS | index as u64, Interest::Read);
        self.checked("epoll_ctl", errno(watched))
    }

    fn forget_listener(&mut self, listener: &TcpListener) -> Result<(), Errno> {
        errno(self.poller.forget(listener))
    }

    fn close_listener(&mut self, listener: TcpListener) {
        drop(listener);
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<(Socket, SocketAddr), Errno> {
        let (socket, address) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let address = address.and_then(|address| address.try_into().ok()).ok_or(Errno::AFNOSUPPORT)?;
        Ok((Socket(socket), address))
    }

    fn watch(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        let watched = self.poller.watch(&socket.0, key as u64, interest);
        self.checked("epoll_ctl", errno(watched))
    }

    fn change(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        let changed = self.poller.change(&socket.0, key as u64, interest);
        self.checked("epoll_ctl", errno(changed))
    }

    fn forget(&mut self, socket: &Socket) -> Result<(), Errno> {
        errno(self.poller.forget(&socket.0))
    }

    fn undelivered(&mut self, socket: &Socket) -> usize {
        const SIOCOUTQ: Opcode = 0x5411;
        #[expect(unsafe_code, reason = "no library has this call")]
        // SAFETY: tcp(7) says that it stores an int.
        let bytes = unsafe { ioctl(&socket.0, Getter::<SIOCOUTQ, c_int>::new()) };
        bytes.ok().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    #[inline]
    fn receive(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
        let received = recv(&socket.0, buffer, RecvFlags::empty());
        self.checked("recv", received.map(|(count, _)| count))
    }

    #[inline]
    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
        // Without EOR the kernel appends to a waiting packet, and lets it grow beyond the send buffer.
        let sent = send(&socket.0, bytes, SendFlags::NOSIGNAL | SendFlags::EOR);
        self.checked("send", sent)
    }

    fn shut_down(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.checked("shutdown", shutdown(&socket.0, Shutdown::Write))
    }

    fn close(&mut self, socket: Socket) {
        drop(socket);
    }

    fn reset(&mut self, socket: Socket) {
        // It does not fail for a connected socket.
        let _ = sockopt::set_socket_linger(&socket.0, Some(Duration::ZERO));
        drop(socket);
    }
}

impl Wake for Waker {
    fn wake(&self) {
        Self::wake(self);
    }
}

impl Ready {
    #[inline]
    fn from_token(token: u64) -> Self {
        let index = |token: u64| usize::try_from(token).expect("it was a usize");
        match token {
            WAKER => Self::Waker,
            token if token & LISTENERS != 0 => Self::Listener(index(token ^ LISTENERS)),
            token => Self::Connection(index(token)),
        }
    }
}

fn whole_milliseconds(timeout: Duration) -> Duration {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

fn errno<T>(outcome: io::Result<T>) -> Result<T, Errno> {
    outcome.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_less_than_a_millisecond_after_its_deadline() {
        let whole = |nanoseconds| whole_milliseconds(Duration::from_nanos(nanoseconds)).as_nanos();
        assert_eq!(
            [0, 1, 1_000_000, 1_000_001, 299_000_001].map(whole),
            [0, 1_000_000, 1_000_000, 2_000_000, 300_000_000]
        );
    }

    #[test]
    fn a_wait_does_not_end_before_its_deadline() {
        let mut kernel = Linux::new().expect("two files");
        let deadline = kernel.now() + Duration::from_micros(2500);
        kernel.wait(&mut Vec::new(), Some(deadline)).expect("epoll works");
        assert!(kernel.now() >= deadline);
    }
}
