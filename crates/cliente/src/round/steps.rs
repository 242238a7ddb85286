//! The steps of a round in the log, at level `debug`.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use daemon::logging::may_log;
use tracing::{Level, debug};

use super::exchange::Progress;
use crate::resolve::Answers;
use crate::targets::target::Target;

/// The greatest number of addresses that are shown.
const MAX_SHOWN: usize = 8;

/// Logs the steps of one round.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    /// Nobody, if steps are not logged.
    server: Option<&'a str>,
}

impl<'a> Steps<'a> {
    /// Those of a round with `target`.
    pub(super) fn of(target: &'a Target) -> Self {
        Self { server: may_log(Level::DEBUG).then(|| target.as_str()) }
    }

    pub(super) fn resolved(self, answers: &Answers) {
        let Some(server) = self.server else { return };
        let addresses: Vec<SocketAddr> = answers.addresses().collect();
        debug!(server, addresses = %Addresses(&addresses), "name resolved");
    }

    pub(super) fn moved(self, address: SocketAddr) {
        let Some(server) = self.server else { return };
        debug!(server, %address, "name moved");
    }

    pub(super) fn not_connected(self, address: SocketAddr, error: &io::Error) {
        let Some(server) = self.server else { return };
        debug!(server, %address, %error, "connection failed");
    }

    pub(super) fn connected(self, address: SocketAddr) {
        let Some(server) = self.server else { return };
        debug!(server, %address, "connection opened");
    }

    pub(super) fn exchanged(self, Progress { sent, received }: Progress) {
        let Some(server) = self.server else { return };
        debug!(server, bytes = sent, "request sent");
        debug!(server, bytes = received, "reply received");
    }
}

struct Addresses<'a>(&'a [SocketAddr]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(formatter, "{separator}{address}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_addresses_are_not_all_shown() {
        let addresses: Vec<SocketAddr> = (1..=10).map(|port| ([192, 0, 2, 1], port).into()).collect();
        assert_eq!(Addresses(&addresses[..2]).to_string(), "192.0.2.1:1, 192.0.2.1:2");
        assert!(Addresses(&addresses).to_string().ends_with("192.0.2.1:8 and 2 more"));
    }
}
