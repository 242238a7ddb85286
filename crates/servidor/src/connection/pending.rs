//! Replies that the kernel has not taken, since the peer does not read as fast as it asks.

use std::time::{Duration, Instant};

use crate::metrics::CloseReason;
use crate::settings::Own;

/// Bytes per second that a peer must take in the long run, once its replies have to wait: a trickle cannot hold a permit
/// for ever.
pub(crate) const MIN_WRITE_RATE: u32 = 1024;

/// See the module.
pub(super) struct Pending {
    /// When the requests were read.
    pub(super) read_at: Instant,
    /// Since when the peer has taken nothing; if it takes less than [`MIN_WRITE_RATE`], earlier.
    pub(super) since: Instant,
    pub(super) unsent: Vec<u8>,
    pub(super) sent: usize,
    /// Requests that have been read and not looked at.
    pub(super) unread: Vec<u8>,
    /// Why to close when all is sent.
    pub(super) then: Option<CloseReason>,
}

impl Pending {
    pub(super) fn deadline(&self, settings: &Own) -> Instant {
        self.since + settings.write_timeout.get()
    }

    /// The peer has taken so many bytes more.
    pub(super) fn progress(&mut self, bytes: usize, now: Instant) {
        self.sent += bytes;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / MIN_WRITE_RATE;
        self.since = now.min(self.since + earned);
    }
}
