//! A server to ask, as it was configured.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// `host:port`. A name is resolved anew each round, so nothing is known of it here but its form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    text: String,
    host: String,
    port: u16,
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

    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let (host, port) = text.rsplit_once(':').ok_or(NoTarget)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|inner| is_ipv6(inner)).ok_or(NoTarget)?,
            None => Some(host).filter(|host| is_name(host)).ok_or(NoTarget)?,
        };
        // A sign is no part of a port, whatever the standard library thinks.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).filter(|&port| port > 0).ok_or(NoTarget)?;
        Ok(Self { text: text.to_owned(), host: host.to_owned(), port })
    }
}

/// With or without a zone (`fe80::1%eth0`), which the resolver understands.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

/// What names, IPv4 addresses and zones are made of.
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
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("127.0.0.1:8888", "127.0.0.1", 8888),
            ("[::1]:1", "::1", 1),
            ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
            ("servidor.example:80", "servidor.example", 80),
            ("my_host-2:8888", "my_host-2", 8888),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!((target.as_str(), target.host(), target.port()), (text, host, port));
        }
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
