//! The settings that both daemons have.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::value::{Count, List, Value, expected, quoted};

crate::settings! {
    /// The settings that both daemons have.
    pub struct Common {
        /// Where the HTTP side answers: `/metrics`, `/-/healthy`, `/-/ready`, and a page for people at `/`.
        /// `off` turns it off.
        metrics_listen: MetricsListen = "127.0.0.1:9888", Restart;
        /// Networks whose peers may use the HTTP side; others are closed at once. This host may always ask for
        /// `/-/healthy` and `/-/ready`.
        metrics_allow: Networks = "127.0.0.0/8, ::1/128", Live;
        /// Names by which the HTTP side may be asked for, beside addresses, `localhost` and the name of the host. On
        /// loopback addresses others are not answered, so that no page on the web can read it through a browser on this
        /// host (DNS rebinding). On other addresses any name is fine, unless names are set here.
        metrics_hosts: HostNames = "", Live;
        /// How much is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter of the tracing
        /// library such as `info,servidor=debug`.
        log_level: LogLevel = "info", Live;
        /// How log lines look: `json` (an object a line), `text`, or `auto`, which is text on a terminal and JSON
        /// elsewhere.
        log_format: LogFormat = "auto", Restart;
        /// How many lines a second each message of the data path may log; what is over it is counted, and summed up
        /// in one line a second (`events suppressed`).
        log_events_per_second: Count<0, 1_000_000> = "50", Live;
        /// How many threads serve clients, or make rounds; `auto` is the number of processors.
        worker_threads: WorkerThreads = "auto", Restart;
    }
}

/// Networks whose peers are allowed.
pub type Networks = List<IpNet>;

impl Networks {
    /// Whether `peer` is in one of the networks; an IPv4-mapped address counts as its IPv4 address.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.as_slice().iter().any(|network| network.contains(&peer))
    }

    /// Whether they are all addresses, of IPv4 and of IPv6.
    pub fn contains_all(&self) -> bool {
        let of_length_0 = || self.as_slice().iter().filter(|network| network.prefix_len() == 0);
        of_length_0().any(|network| network.addr().is_ipv4())
            && of_length_0().any(|network| network.addr().is_ipv6())
    }
}

/// Names of this host, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// The names, in the order given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Value for HostNames {
    const EXPECTED: &'static str = "the name of a host without a port, such as canary.example";
    const LIST: bool = true;
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        const MAX_LENGTH: usize = 253;
        let is_name = |name: &str| {
            let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
            !name.is_empty() && name.len() <= MAX_LENGTH && name.chars().all(is_part)
        };
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
            if !is_name(name) {
                let place = if text == name { String::new() } else { format!("{name:?}: ") };
                return Err(place + &expected::<Self>());
            }
            if names.iter().any(|known| known == name) {
                return Err(format!("{name:?} is given twice"));
            }
            names.push(name.to_owned());
        }
        Ok(Self(names))
    }

    fn to_toml(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|name| quoted(name)).collect();
        format!("[{}]", names.join(", "))
    }
}

/// Where the HTTP side listens, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl Value for MetricsListen {
    const EXPECTED: &'static str = "an address and a port, such as 127.0.0.1:9888, or off";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At).map_err(|_| expected::<Self>()) }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Off => quoted("off"),
            Self::At(address) => address.to_toml(),
        }
    }
}

/// What the names of the crates of the resolver's library begin with.
const RESOLVER: &str = "hickory";

/// Which events are logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLevel {
    text: String,
    targets: Targets,
}

impl LogLevel {
    /// The filter. The resolver's library logs each step of each query: that is told only if it is named.
    pub fn targets(&self) -> Targets {
        let targets = self.targets.clone();
        if self.text == "off" || self.text.contains(RESOLVER) {
            return targets;
        }
        targets.with_target(RESOLVER, LevelFilter::ERROR)
    }
}

impl Value for LogLevel {
    const EXPECTED: &'static str =
        "error, warn, info, debug, trace or off, or a filter such as info,servidor=debug";
    const SUGGESTIONS: &'static [&'static str] = &["error", "warn", "info", "debug", "trace", "off"];

    fn parse(text: &str) -> Result<Self, String> {
        // The parser takes a space as part of a target's name, which then matches nothing.
        let text = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
        // The parser takes any bare word as a target's name, so a misspelt level would turn off all others. It also takes
        // an empty text or a digit as a level.
        let is_directive = |part: &str| {
            let is_word = part.contains(char::is_alphabetic);
            part.contains('=') || (is_word && part.parse::<LevelFilter>().is_ok())
        };
        let targets = text.parse().ok().filter(|_| text.split(',').all(is_directive));
        targets.map(|targets| Self { text, targets }).ok_or_else(expected::<Self>)
    }

    fn to_toml(&self) -> String {
        quoted(&self.text)
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One object a line.
    Json,
    /// For people.
    Text,
}

crate::choice!(LogFormat, "auto, json or text", Auto = "auto", Json = "json", Text = "text");

/// How many threads serve clients, or make rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerThreads(usize);

impl WorkerThreads {
    const MOST: usize = 1024;

    /// The number, at least one.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// How many processors there are for this process.
fn processors() -> usize {
    // A control group can only lower this number, and looking that up takes fourteen system calls.
    let granted = rustix::thread::sched_getaffinity(None).map(|processors| processors.count());
    if granted == Ok(1) { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

impl Value for WorkerThreads {
    const EXPECTED: &'static str = "a whole number from 1 to 1024, or auto";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(processors().min(Self::MOST)));
        }
        text.parse()
            .ok()
            .filter(|threads| (1..=Self::MOST).contains(threads))
            .map(Self)
            .ok_or_else(expected::<Self>)
    }

    fn to_toml(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_all_if_they_have_all_addresses_of_both_families() {
        for (text, expected) in [
            ("0.0.0.0/0, ::/0", true),
            ("::/0, 192.0.2.0/24, ::ffff:0.0.0.0/96", true),
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("0.0.0.0/1, ::/0", false),
            ("127.0.0.0/8, ::1/128", false),
        ] {
            assert_eq!(Networks::parse(text).expect(text).contains_all(), expected, "{text}");
        }
    }
}
