//! What `servidor` logs on the data path: each message in one place, each with a budget of its own.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::event_within;
use daemon::logging::{Budget, may_log};
use protocol::{Number, Rejection};

use crate::metrics::{Reason, Refusal};

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The connection's running number.
    pub connection: u64,
    /// The peer's address, an IPv4-mapped one as IPv4.
    pub address: SocketAddr,
}

/// The budgets of the messages.
pub struct Events {
    established: Budget,
    refused: Budget,
    classified: Budget,
    rejected: Budget,
    closed: Budget,
    accept_failed: Budget,
}

impl Events {
    /// Budgets of so many lines a second.
    pub fn new(per_second: u32) -> Self {
        let budget = |event| Budget::new(event, per_second);
        Self {
            established: budget("connection established"),
            refused: budget("connection refused"),
            classified: budget("number classified"),
            rejected: budget("request rejected"),
            closed: budget("connection closed"),
            accept_failed: budget("accept failed"),
        }
    }

    /// Begins a new second; says how many lines were suppressed in the last one.
    pub fn refill(&self, per_second: u32) -> u64 {
        let Self { established, refused, classified, rejected, closed, accept_failed } = self;
        [established, refused, classified, rejected, closed, accept_failed]
            .map(|budget| budget.refill(per_second))
            .iter()
            .sum()
    }

    /// A connection is being served.
    pub fn connection_established(&self, peer: Peer) {
        event_within!(
            self.established, INFO, connection = peer.connection, peer = %peer.address, "connection established"
        );
    }

    /// A connection is not served.
    pub fn connection_refused(&self, address: SocketAddr, reason: Refusal) {
        event_within!(self.refused, WARN, peer = %address, reason = reason.as_str(), "connection refused");
    }

    /// Whether a number that is answered now may be logged.
    #[inline]
    pub fn may_log_numbers(&self) -> bool {
        may_log(tracing::Level::INFO) && self.classified.lasts()
    }

    /// Numbers were answered that may not be logged.
    #[inline]
    pub fn numbers_passed_over(&self, count: u64) {
        if may_log(tracing::Level::INFO) {
            self.classified.suppress(count);
        }
    }

    /// A number was answered.
    #[inline]
    pub fn number_classified(&self, peer: Peer, number: &Number) {
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

    /// A request was no number.
    #[inline]
    pub fn request_rejected(&self, peer: Peer, reason: Rejection) {
        event_within!(
            self.rejected,
            WARN,
            connection = peer.connection,
            peer = %peer.address,
            reason = reason.as_str(),
            "request rejected"
        );
    }

    /// A served connection ended.
    pub fn connection_closed(&self, peer: Peer, reason: Reason, requests: u64, duration: Duration) {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
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

    /// The kernel gave an error in place of a connection.
    pub fn accept_failed(&self, error: &std::io::Error) {
        event_within!(self.accept_failed, WARN, error = error.to_string(), "accept failed");
    }
}
