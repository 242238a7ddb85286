//! A server to ask, as it was configured.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// What the text of a service begins with.
const SERVICE: &str = "srv:";

/// `host:port`, or `srv:` and the name of a service. Names are resolved for the rounds, so nothing is known of them here but their form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    text: String,
    endpoint: Endpoint,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// At an address.
    Address(SocketAddr),
    /// At an address of the link that an interface is on, such as `fe80::1%eth0`.
    Zoned {
        /// The address.
        address: Ipv6Addr,
        /// The interface's name or number.
        zone: String,
        /// The port, never 0.
        port: u16,
    },
    /// Wherever a name says.
    Name {
        /// The name.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// Wherever the SRV records of this name say.
    Service(String),
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no host and port")]
pub struct NoTarget;

impl Target {
    /// The text of the configuration: the `server` of logs and metrics.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The name or the address of its host; the name of a service.
    pub(crate) fn host(&self) -> String {
        match &self.endpoint {
            Endpoint::Address(address) => address.ip().to_string(),
            Endpoint::Zoned { address, .. } => address.to_string(),
            Endpoint::Name { host, .. } => host.clone(),
            Endpoint::Service(name) => name.clone(),
        }
    }

    /// Whether it may have several addresses.
    pub fn is_name(&self) -> bool {
        matches!(self.endpoint, Endpoint::Name { .. } | Endpoint::Service(_))
    }

    /// The target that one of its addresses is: `host:port/address`, and the port again if it is that of a service.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        let text = match self.endpoint {
            Endpoint::Name { .. } => format!("{}/{}", self.text, address.ip()),
            _ => format!("{}/{address}", self.text),
        };
        Self { text, endpoint: Endpoint::Address(address) }
    }

    /// Its address, if it needs no look-up.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.endpoint {
            Endpoint::Address(address) => Some(address),
            _ => None,
        }
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        Ok(Self { text: text.to_owned(), endpoint: endpoint(text)? })
    }
}

fn endpoint(text: &str) -> Result<Endpoint, NoTarget> {
    // A host may be called `srv`; the name of a service begins with an underscore.
    if let Some(name) = text.strip_prefix(SERVICE).filter(|name| name.starts_with('_')) {
        return if is_name(name) { Ok(Endpoint::Service(name.to_owned())) } else { Err(NoTarget) };
    }
    let (host, port) = text.rsplit_once(':').ok_or(NoTarget)?;
    // A sign is no part of a port, whatever the standard library thinks.
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.and_then(|port| port.parse().ok()).filter(|&port| port > 0).ok_or(NoTarget)?;
    if let Some(inner) = host.strip_prefix('[') {
        return ipv6(inner.strip_suffix(']').ok_or(NoTarget)?, port);
    }
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(Endpoint::Address((address, port).into())),
        Err(_) if is_name(host) => Ok(Endpoint::Name { host: host.to_owned(), port }),
        // An IPv6 address must have brackets.
        Ok(IpAddr::V6(_)) | Err(_) => Err(NoTarget),
    }
}

/// With or without a zone.
fn ipv6(text: &str, port: u16) -> Result<Endpoint, NoTarget> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address: Ipv6Addr = address.parse().map_err(|_| NoTarget)?;
    match zone {
        None => Ok(Endpoint::Address((address, port).into())),
        Some(zone) if is_name(zone) => Ok(Endpoint::Zoned { address, zone: zone.to_owned(), port }),
        Some(_) => Err(NoTarget),
    }
}

/// What names and zones are made of.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_services() {
        let address = |text: &str| Endpoint::Address(text.parse().expect("an address"));
        let name = |host: &str, port| Endpoint::Name { host: host.to_owned(), port };
        let zoned = Endpoint::Zoned {
            address: "fe80::1".parse().expect("an address"),
            zone: "eth0".to_owned(),
            port: 65535,
        };
        for (text, endpoint) in [
            ("127.0.0.1:8888", address("127.0.0.1:8888")),
            ("[::1]:1", address("[::1]:1")),
            ("[fe80::1%eth0]:65535", zoned),
            ("servidor.example:80", name("servidor.example", 80)),
            ("my_host-2:8888", name("my_host-2", 8888)),
            ("srv:8888", name("srv", 8888)),
            ("srv:_canary._tcp.example", Endpoint::Service("_canary._tcp.example".to_owned())),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!((target.as_str(), target.endpoint()), (text, &endpoint));
        }
    }

    #[test]
    fn the_targets_of_a_names_addresses_bear_both() {
        let at = |target: &str, address: &str| {
            let target: Target = target.parse().expect("a target");
            target.at(address.parse().expect("an address")).as_str().to_owned()
        };
        assert_eq!(at("web.example:8888", "192.0.2.1:8888"), "web.example:8888/192.0.2.1");
        assert_eq!(at("web.example:8888", "[2001:db8::1]:8888"), "web.example:8888/2001:db8::1");
        assert_eq!(
            at("srv:_canary._tcp.example", "[2001:db8::1]:9"),
            "srv:_canary._tcp.example/[2001:db8::1]:9"
        );
    }

    #[test]
    fn what_is_no_target() {
        let long = format!("{}:1", "a".repeat(254));
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":8888",
            "host:0",
            "host:65536",
            "host:+1",
            "host:-1",
            "host: 1",
            "::1:8888",
            "[::1]",
            "[::1:8888",
            "::1]:8888",
            "srv:_canary._tcp.example:8888",
            "srv:_canary._tcp/example",
            "srv:canary.example",
            "[]:8888",
            "[host]:8888",
            "[::1%]:1",
            "a b:1",
            "http://a:1",
            "a/b:1",
            "ção:1",
            &long,
        ] {
            assert_eq!(text.parse::<Target>(), Err(NoTarget), "{text:?}");
        }
    }
}
