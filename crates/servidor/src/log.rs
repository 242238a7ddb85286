//! The log messages of the data path, each with its own budget.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::event_within;
use daemon::logging::{Budget, may_log};
use protocol::{MAX_LINE, Number, Rejection};
use tracing::Level;

use crate::kernel::Errno;
use crate::metrics::{CloseReason, Refusal};

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The number of the connection since the start.
    pub(crate) connection: u64,
    /// The peer's address. IPv4-mapped addresses are converted to IPv4.
    pub(crate) address: SocketAddr,
}

/// The budgets of the messages.
#[derive(Debug)]
pub(crate) struct Log {
    established: Budget,
    refused: Budget,
    classified: Budget,
    rejected: Budget,
    closed: Budget,
    accept_failed: Budget,
    read: Budget,
    sent: Budget,
    stalled: Budget,
    deadline: Budget,
}

impl Log {
    /// Budgets of `per_second` lines each.
    pub(crate) fn new(per_second: u32) -> Self {
        let budget = |event| Budget::new(event, per_second);
        Self {
            established: budget("connection established"),
            refused: budget("connection refused"),
            classified: budget("number classified"),
            rejected: budget("request rejected"),
            closed: budget("connection closed"),
            accept_failed: budget("accept failed"),
            read: budget("requests read"),
            sent: budget("replies sent"),
            stalled: budget("replies stalled"),
            deadline: budget("deadline passed"),
        }
    }

    /// Starts a new second. Returns how many lines were suppressed in the last one.
    pub(crate) fn refill(&self, per_second: u32) -> u64 {
        let Self { established, refused, classified, rejected, closed, accept_failed, .. } = self;
        let Self { read, sent, stalled, deadline, .. } = self;
        [established, refused, classified, rejected, closed, accept_failed, read, sent, stalled, deadline]
            .map(|budget| budget.refill(per_second))
            .iter()
            .sum()
    }

    /// A connection is being served.
    pub(crate) fn connection_established(&self, peer: Peer) {
        event_within!(
            self.established, INFO, connection = peer.connection, peer = %peer.address, "connection established"
        );
    }

    /// A connection is not served.
    pub(crate) fn connection_refused(&self, address: SocketAddr, reason: Refusal) {
        event_within!(self.refused, WARN, peer = %address, reason = reason.as_str(), "connection refused");
    }

    /// Whether an answered number would be logged now.
    #[inline]
    pub(crate) fn may_log_numbers(&self) -> bool {
        may_log(Level::INFO) && self.classified.lasts()
    }

    /// Numbers were answered without being logged.
    #[inline]
    pub(crate) fn numbers_not_logged(&self, count: u64) {
        if may_log(Level::INFO) {
            self.classified.suppress(count);
        }
    }

    /// A number was answered.
    #[inline]
    pub(crate) fn number_classified(&self, peer: Peer, number: &Number) {
        event_within!(
            self.classified,
            INFO,
            connection = peer.connection,
            peer = %peer.address,
            number = number.as_str(),
            digits = number.digits(),
            class = number.class().as_str(),
            "number classified"
        );
    }

    /// `request` was not a number. It is logged only at level `debug`, because the peer may be hostile.
    #[inline]
    pub(crate) fn request_rejected(&self, peer: Peer, reason: Rejection, request: &[u8]) {
        let request = request.strip_suffix(b"\n").unwrap_or(request);
        let request = &request[..request.len().min(MAX_LINE)];
        event_within!(
            self.rejected,
            WARN,
            connection = peer.connection,
            peer = %peer.address,
            reason = reason.as_str(),
            request = may_log(Level::DEBUG).then(|| display(request.escape_ascii())),
            "request rejected"
        );
    }

    /// Bytes of requests were read.
    #[inline]
    pub(crate) fn requests_read(&self, Peer { connection, .. }: Peer, bytes: usize) {
        event_within!(self.read, DEBUG, connection, bytes, "requests read");
    }

    /// All replies were sent, this many bytes.
    #[inline]
    pub(crate) fn replies_sent(&self, Peer { connection, .. }: Peer, bytes: usize) {
        event_within!(self.sent, DEBUG, connection, bytes, "replies sent");
    }

    /// Bytes of replies wait until the peer reads.
    pub(crate) fn replies_stalled(&self, Peer { connection, .. }: Peer, bytes: usize) {
        event_within!(self.stalled, DEBUG, connection, bytes, "replies stalled");
    }

    /// A deadline has passed, and nothing had arrived that moves it.
    pub(crate) fn deadline_passed(&self, Peer { connection, .. }: Peer, reason: CloseReason) {
        event_within!(self.deadline, DEBUG, connection, reason = reason.as_str(), "deadline passed");
    }

    /// A served connection ended.
    pub(crate) fn connection_closed(
        &self,
        peer: Peer,
        reason: CloseReason,
        requests: u64,
        duration: Duration,
    ) {
        let duration_ms = milliseconds(duration);
        event_within!(
            self.closed,
            INFO,
            connection = peer.connection,
            peer = %peer.address,
            reason = reason.as_str(),
            requests,
            duration_ms,
            "connection closed"
        );
    }

    /// accept(2) failed.
    pub(crate) fn accept_failed(&self, error: Errno) {
        event_within!(self.accept_failed, WARN, error = error.to_string(), "accept failed");
    }

    /// The listener at `address` cannot be watched. The message and the budget are those of `accept failed`: no connection
    /// is accepted for a while in both cases.
    pub(crate) fn watch_failed(&self, address: SocketAddr, error: Errno) {
        let error = format!("cannot watch {address}: {error}");
        event_within!(self.accept_failed, WARN, error, "accept failed");
    }

    /// All permits have been taken for a while. Further connections wait in the kernel's queue.
    pub(crate) fn limit_reached(limit: usize) {
        tracing::warn!(limit, "connection limit reached");
    }

    /// Permits are free again, and no connection is waiting.
    pub(crate) fn limit_cleared(limit: usize, duration: Duration) {
        let duration_ms = milliseconds(duration);
        tracing::info!(limit, duration_ms, "connection limit cleared");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
