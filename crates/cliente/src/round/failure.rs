//! Why a round failed, in words for people and in a name for logs and metrics.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::attempts::Attempts;
use super::reason::{Reason, reason_of};
use crate::resolve::Unresolved;

/// Why a round failed. A target that is down is a finding, not an error of this program.
#[derive(Debug, Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name cannot be resolved: {0}")]
    Resolve(Unresolved),
    /// The resolver took too long.
    #[error("the name was not resolved within {0:?}")]
    ResolveTimeout(Duration),
    /// None of the target's addresses took the connection.
    #[error("no connection to {0}")]
    Connect(Attempts),
    /// The connection broke before the reply had come.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The reply took too long.
    #[error("no whole reply within {0:?}")]
    ReplyTimeout(Duration),
    /// The server ended the connection in place of a reply.
    #[error("the server closed the connection without a reply")]
    Closed,
    /// What came is not what the number deserves.
    #[error("expected {expected:?}, received {received:?}")]
    Wrong {
        /// The reply worked out here.
        expected: String,
        /// What came of the server's, never more than a reply may have.
        received: String,
    },
    /// Something came that was not asked for.
    #[error("the server sent more than the reply")]
    Surplus,
    /// The server says that the fault is the client's.
    #[error("the server answered {0:?}")]
    ServerError(String),
}

impl Failure {
    /// Whether it says something about the server even if this process was kept from running meanwhile.
    pub fn is_certain(&self) -> bool {
        if let Self::Connect(attempts) = self {
            return attempts.are_all_refused();
        }
        matches!(self.reason(), Reason::WrongReply | Reason::ServerError)
    }

    /// Its name in logs and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Resolve(_) | Self::ResolveTimeout(_) => Reason::Resolve,
            Self::Connect(attempts) => attempts.reason(),
            Self::Broken(error) => reason_of(error, Reason::ReplyTimeout),
            Self::ReplyTimeout(_) => Reason::ReplyTimeout,
            Self::Closed => Reason::Closed,
            Self::Wrong { .. } | Self::Surplus => Reason::WrongReply,
            Self::ServerError(_) => Reason::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn reasons_are_indexed_in_their_order() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), position, "{reason:?}");
        }
    }

    #[test]
    fn the_systems_errors_have_reasons_of_their_own() {
        let table = [
            (ErrorKind::ConnectionRefused, Reason::Refused, Reason::Refused),
            (ErrorKind::HostUnreachable, Reason::Unreachable, Reason::Unreachable),
            (ErrorKind::NetworkUnreachable, Reason::Unreachable, Reason::Unreachable),
            (ErrorKind::ConnectionReset, Reason::Reset, Reason::Reset),
            (ErrorKind::BrokenPipe, Reason::Reset, Reason::Reset),
            (ErrorKind::TimedOut, Reason::ConnectTimeout, Reason::ReplyTimeout),
            (ErrorKind::PermissionDenied, Reason::Other, Reason::Other),
        ];
        for (kind, connecting, waiting) in table {
            assert_eq!(reason_of(&kind.into(), Reason::ConnectTimeout), connecting, "{kind:?}");
            assert_eq!(Failure::Broken(kind.into()).reason(), waiting, "{kind:?}");
        }
    }
}
