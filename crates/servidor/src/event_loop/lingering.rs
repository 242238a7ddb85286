//! Lingering close: FIN first, then what the peer still sends is read and dropped for a while.
//!
//! A socket that is closed while bytes are unread, or that gets more, answers with RST, and an RST may overtake the
//! reply that was sent before it (RFC 1122, 4.2.2.13).

use std::time::{Duration, Instant};

use crate::drain::Drain;
use crate::kernel::{Errno, Kernel, retry};

/// How many sockets linger at most, in the whole process.
pub(crate) const MAX_LINGERING: usize = 64;
/// For how long.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read and dropped at a time. One read finds whatever the receive buffer holds.
const MAX_DROPPED: usize = 256 * 1024;

/// A socket whose FIN has been sent.
pub(super) struct Lingering<K: Kernel> {
    socket: K::Socket,
    since: Instant,
}

impl<K: Kernel> Lingering<K> {
    /// `socket` has sent its FIN at `now`.
    pub(super) fn new(socket: K::Socket, now: Instant) -> Self {
        Self { socket, since: now }
    }

    pub(super) fn into_socket(self) -> K::Socket {
        self.socket
    }

    /// When it is closed.
    pub(super) fn deadline(&self, drain: Option<Drain>) -> Instant {
        let deadline = self.since + LINGER;
        drain.map_or(deadline, |drain| deadline.min(drain.forced))
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
