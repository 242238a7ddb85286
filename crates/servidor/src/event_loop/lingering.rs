//! Lingering close: sends FIN first, then reads and drops what the peer still sends for a while.
//!
//! A socket that is closed while bytes are unread, or that gets more, answers with RST, and an RST may overtake the
//! reply that was sent before it (RFC 1122, 4.2.2.13).

use std::time::{Duration, Instant};

use protocol::MAX_REPLY;

use crate::connection::MIN_WRITE_RATE;
use crate::drain::Drain;
use crate::kernel::{Errno, Kernel, retry};

/// How many sockets of the process may linger.
pub(crate) const MAX_LINGERING: usize = 64;
/// How long a socket lingers.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read and dropped at a time.
const MAX_DROPPED: usize = 256 * 1024;

/// How many undelivered bytes a closed socket may leave behind. The kernel may keep them for minutes.
const MAX_UNDELIVERED: usize = 2 * 1024;
/// How many requests have replies that always fit in that.
pub(super) const FEW_REQUESTS: u64 = (MAX_UNDELIVERED / MAX_REPLY) as u64;

/// Whether closing this socket would leave too much to the kernel. This does not matter once the daemon stops.
pub(super) fn is_undelivered<K: Kernel>(kernel: &mut K, socket: &K::Socket, drain: Option<Drain>) -> bool {
    drain.is_none() && kernel.undelivered(socket) > MAX_UNDELIVERED
}

/// A socket whose FIN has been sent.
pub(super) struct Lingering<K: Kernel> {
    socket: K::Socket,
    deadline: Instant,
    /// Whether the deadline is that of the delivery.
    is_last: bool,
}

/// What becomes of a lingering socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on lingering.
    Lingers,
    /// It is closed, and the kernel delivers what is left.
    Close,
    /// It is reset: the peer has not taken its replies.
    Reset,
}

impl<K: Kernel> Lingering<K> {
    /// `socket` has sent its FIN at `now`.
    pub(super) fn new(socket: K::Socket, now: Instant) -> Self {
        Self { socket, deadline: now + LINGER, is_last: false }
    }

    pub(super) fn socket(&self) -> &K::Socket {
        &self.socket
    }

    pub(super) fn into_socket(self) -> K::Socket {
        self.socket
    }

    /// When it expires.
    pub(super) fn deadline(&self, drain: Option<Drain>) -> Instant {
        drain.map_or(self.deadline, |drain| self.deadline.min(drain.forced))
    }

    /// [`is_undelivered`].
    pub(super) fn is_undelivered(&self, kernel: &mut K, drain: Option<Drain>) -> bool {
        is_undelivered(kernel, &self.socket, drain)
    }

    /// Its deadline has passed. If bytes are undelivered, it gets the time that they take at the minimum rate, once.
    pub(super) fn expire(&mut self, kernel: &mut K, buffer: &mut [u8], drain: Option<Drain>) -> Fate {
        self.drop_input(kernel, buffer);
        if !self.is_undelivered(kernel, drain) {
            return Fate::Close;
        }
        if std::mem::replace(&mut self.is_last, true) {
            return Fate::Reset;
        }
        let bytes = u32::try_from(kernel.undelivered(&self.socket)).unwrap_or(u32::MAX);
        self.deadline += Duration::from_secs(1) * bytes / MIN_WRITE_RATE;
        Fate::Lingers
    }

    /// Reads and drops what is there. Returns whether more may come.
    pub(super) fn drop_input(&self, kernel: &mut K, buffer: &mut [u8]) -> bool {
        let mut dropped = 0;
        while dropped < MAX_DROPPED {
            match retry(|| kernel.receive(&self.socket, buffer)) {
                Ok(count @ 1..) => dropped += count,
                Err(Errno::AGAIN) => return true,
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }
}
