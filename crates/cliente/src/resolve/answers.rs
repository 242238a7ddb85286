//! What is known of the addresses of a target, and for how long.

use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

/// Addresses in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Which host of a service has the address (0 for a name), and the address.
    pub(super) addresses: Vec<(usize, SocketAddr)>,
    /// When to ask again.
    pub until: Instant,
    /// How many questions have no answer yet, or none but an error.
    pub(super) open: Open,
}

/// Numbers of questions about each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) ipv4: usize,
    pub(super) ipv6: usize,
}

impl Open {
    pub(super) fn of(&mut self, is_ipv4: bool) -> &mut usize {
        if is_ipv4 { &mut self.ipv4 } else { &mut self.ipv6 }
    }
}

impl Answers {
    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|&(_, address)| address)
    }

    /// Whether the name is known to have `address` no longer. Without an answer about its family, that is not known.
    pub fn exclude(&self, address: SocketAddr) -> bool {
        let is_unknown = match address.ip() {
            IpAddr::V4(_) => self.open.ipv4 > 0,
            IpAddr::V6(_) => self.open.ipv6 > 0,
        };
        !is_unknown && !self.addresses().any(|other| other == address)
    }
}
