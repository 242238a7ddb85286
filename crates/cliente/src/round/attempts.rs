//! The attempts to connect of one round, and what the failure of all of them says.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::reason::{Reason, reason_of};

/// The greatest number of addresses that are named.
const MAX_NAMED: usize = 8;

/// In the order in which they began.
#[derive(Debug)]
pub struct Attempts {
    limit: Duration,
    list: Vec<(SocketAddr, Option<io::Error>)>,
}

impl Attempts {
    /// None yet; those that have not failed within `limit` count as unanswered.
    pub(super) fn within(limit: Duration) -> Self {
        Self { limit, list: Vec::new() }
    }

    /// Adds one, and returns its number.
    pub(super) fn begin(&mut self, address: SocketAddr) -> usize {
        self.list.push((address, None));
        self.list.len() - 1
    }

    pub(super) fn fail(&mut self, number: usize, error: io::Error) {
        self.list[number].1 = Some(error);
    }

    /// The most telling one: a refusal says more than silence, and silence more than a missing route.
    pub(super) fn reason(&self) -> Reason {
        self.telling().map_or(Reason::ConnectTimeout, |(reason, _)| reason)
    }

    /// The address that [`Attempts::reason`] is about.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.telling().map(|(_, address)| address)
    }

    /// Whether each address said so itself.
    pub(super) fn are_all_refused(&self) -> bool {
        self.list.iter().all(|(_, error)| reason(error.as_ref()) == Reason::Refused)
    }

    fn telling(&self) -> Option<(Reason, SocketAddr)> {
        let rank = |reason| match reason {
            Reason::Refused => 0,
            Reason::Reset => 1,
            Reason::ConnectTimeout => 2,
            Reason::Unreachable => 3,
            _ => 4,
        };
        let reasons = self.list.iter().map(|(address, error)| (reason(error.as_ref()), *address));
        reasons.min_by_key(|&(reason, _)| rank(reason))
    }
}

fn reason(error: Option<&io::Error>) -> Reason {
    error.map_or(Reason::ConnectTimeout, |error| reason_of(error, Reason::ConnectTimeout))
}

impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.list.iter().take(MAX_NAMED).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            match error {
                Some(error) => write!(formatter, "{separator}{address}: {error}")?,
                None => write!(formatter, "{separator}{address}: no answer within {:?}", self.limit)?,
            }
        }
        match self.list.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn attempts(outcomes: &[Option<ErrorKind>]) -> Attempts {
        let mut attempts = Attempts::within(Duration::from_secs(3));
        for (number, outcome) in (1..).zip(outcomes) {
            let index = attempts.begin(([192, 0, 2, number], 8888).into());
            if let Some(kind) = outcome {
                attempts.fail(index, (*kind).into());
            }
        }
        attempts
    }

    #[test]
    fn the_most_telling_reason_is_told() {
        let (refused, no_route) = (Some(ErrorKind::ConnectionRefused), Some(ErrorKind::NetworkUnreachable));
        let other = Some(ErrorKind::PermissionDenied);
        for (outcomes, reason, last) in [
            (&[no_route, refused, None, other][..], Reason::Refused, 2),
            (&[other, no_route, None], Reason::ConnectTimeout, 3),
            (&[other, no_route], Reason::Unreachable, 2),
            (&[other], Reason::Other, 1),
        ] {
            let attempts = attempts(outcomes);
            assert_eq!(attempts.reason(), reason, "{outcomes:?}");
            assert_eq!(attempts.address(), Some(([192, 0, 2, last], 8888).into()), "{outcomes:?}");
            assert!(!attempts.are_all_refused(), "{outcomes:?}");
        }
        assert!(attempts(&[refused, refused]).are_all_refused());
    }

    #[test]
    fn each_address_is_named_with_its_error_up_to_eight() {
        let refused = Some(ErrorKind::ConnectionRefused);
        assert_eq!(
            attempts(&[refused, None]).to_string(),
            "192.0.2.1:8888: connection refused; 192.0.2.2:8888: no answer within 3s"
        );
        assert!(
            attempts(&[refused; 10]).to_string().ends_with("192.0.2.8:8888: connection refused; and 2 more")
        );
    }
}
