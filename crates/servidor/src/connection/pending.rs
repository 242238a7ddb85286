//! Replies that the kernel has not accepted yet, because the peer reads more slowly than it asks.

use std::time::{Duration, Instant};

use crate::metrics::CloseReason;
use crate::settings::Own;

/// How many bytes per second a peer must read in the long run, once its replies have to wait. A trickle cannot hold a permit
/// forever.
pub(crate) const MIN_WRITE_RATE: u32 = 1024;

/// See the module.
pub(super) struct Pending {
    /// When the requests were read.
    pub(super) read_at: Instant,
    /// Since when the peer has read nothing. If it reads more slowly than [`MIN_WRITE_RATE`], an earlier time.
    pub(super) since: Instant,
    pub(super) unsent: Vec<u8>,
    pub(super) sent: usize,
    /// Requests that have been read but not decoded.
    pub(super) unread: Vec<u8>,
    /// The reason to close when everything is sent, if it must close.
    pub(super) then: Option<CloseReason>,
}

impl Pending {
    pub(super) fn deadline(&self, settings: &Own) -> Instant {
        self.since + settings.write_timeout.get()
    }

    /// The kernel has taken this many more bytes.
    pub(super) fn progress(&mut self, bytes: usize, now: Instant) {
        self.sent += bytes;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / MIN_WRITE_RATE;
        self.since = now.min(self.since + earned);
    }
}
