//! The values that settings of `cliente` can have.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use daemon::choice;
use daemon::metrics::histogram::{Bounds, MAX_BUCKETS};
use daemon::settings::{List, Value};
use rustix::system::uname;

use crate::resolve::Family;
use crate::targets::target::Target;

/// Which connection a round uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One of its own, as the original program does.
    Fresh,
    /// That of the round before, if it lives.
    Kept,
}

choice!(Connection, "fresh or kept", Fresh = "fresh", Kept = "kept");

choice!(Family, "any, ipv4 or ipv6", Any = "any", Ipv4 = "ipv4", Ipv6 = "ipv6");

/// Which addresses of a name are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The first that accepts.
    First,
    /// Each as a target of its own.
    All,
}

choice!(Addresses, "first or all", First = "first", All = "all");

/// The address that rounds are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddress(pub(super) Option<IpAddr>);

impl Value for SourceAddress {
    const EXPECTED: &'static str = "an address of this host, such as 192.0.2.7 or 2001:db8::7, or none";
    const SUGGESTIONS: &'static [&'static str] = &["none"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| format!("expected {}", Self::EXPECTED))
    }

    fn to_toml(&self) -> String {
        let text = self.0.map_or_else(|| "none".to_owned(), |address| address.to_string());
        format!("{text:?}")
    }
}

/// How many of the targets are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanOut(pub(super) Option<NonZeroU32>);

impl Value for FanOut {
    const EXPECTED: &'static str = "a whole number from 1 to 1000, or all";
    const SUGGESTIONS: &'static [&'static str] = &["all"];
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number: &NonZeroU32| number.get() <= 1000);
        number.map(|number| Self(Some(number))).ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }

    fn to_toml(&self) -> String {
        self.0.map_or_else(|| "\"all\"".to_owned(), |number| number.to_string())
    }
}

/// The name of this client among those of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node(Option<String>);

impl Node {
    /// The name that was given, or the host's.
    pub fn name(&self) -> String {
        let host = || uname().nodename().to_string_lossy().into_owned();
        self.0.clone().unwrap_or_else(host)
    }
}

impl Value for Node {
    const EXPECTED: &'static str = "the name or address of this host, as the targets have it, or auto";
    const SUGGESTIONS: &'static [&'static str] = &["auto"];

    fn parse(text: &str) -> Result<Self, String> {
        const MAX_LENGTH: usize = 253;
        let is_allowed = |byte: u8| byte.is_ascii_graphic();
        if text.is_empty() || text.len() > MAX_LENGTH || !text.bytes().all(is_allowed) {
            return Err(format!("expected {}", Self::EXPECTED));
        }
        Ok(Self((text != "auto").then(|| text.to_owned())))
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.0.as_deref().unwrap_or("auto"))
    }
}

/// How many series a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// With histograms of its own.
    Full,
    /// With histograms that it shares with all targets of the same labels.
    Compact,
}

choice!(Detail, "full or compact", Full = "full", Compact = "compact");

/// The upper bounds of a histogram's buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Vec<Duration>);

impl Buckets {
    const SHORTEST: Duration = Duration::from_micros(1);
    const LONGEST: Duration = Duration::from_hours(1);

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds::new(self.0.iter().map(|bound| daemon::metrics::histogram::whole_nanoseconds(*bound)))
    }
}

impl Value for Buckets {
    const EXPECTED: &'static str = "a duration from 1us to 1h, such as 500us, 20ms or 1s";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut bounds: Vec<Duration> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let bound = humantime::parse_duration(item).ok();
            let bound = bound.filter(|bound| (Self::SHORTEST..=Self::LONGEST).contains(bound));
            let bound = bound.ok_or_else(|| format!("{item:?}: expected {}", Self::EXPECTED))?;
            if bounds.last().is_some_and(|last| *last >= bound) {
                return Err(format!("{item:?}: expected a bound above the one before it"));
            }
            bounds.push(bound);
        }
        if bounds.len() > MAX_BUCKETS {
            return Err(format!("expected at most {MAX_BUCKETS} bounds, not {}", bounds.len()));
        }
        Ok(Self(bounds))
    }

    fn to_toml(&self) -> String {
        let bounds = self.0.iter().map(|bound| format!("\"{}\"", humantime::format_duration(*bound)));
        format!("[{}]", bounds.collect::<Vec<_>>().join(", "))
    }
}

/// The targets that settings name one by one.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub(super) targets: Vec<Target>,
    /// Whether they are the default.
    pub(super) is_default: bool,
}

impl Targets {
    /// The targets, in the order given.
    pub fn as_slice(&self) -> &[Target] {
        &self.targets
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.targets == other.targets
    }
}

impl Value for Targets {
    const EXPECTED: &'static str = Target::EXPECTED;
    const LIST: bool = true;
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let targets = if text.is_empty() { Vec::new() } else { List::parse(text)?.as_slice().to_vec() };
        Ok(Self { targets, is_default: false })
    }

    fn parse_default(text: &str) -> Result<Self, String> {
        Ok(Self { is_default: true, ..Self::parse(text)? })
    }

    fn to_toml(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(Value::to_toml).collect();
        format!("[{}]", targets.join(", "))
    }
}

impl Value for Target {
    const EXPECTED: &'static str = "a host and a port, such as 127.0.0.1:8888, [::1]:8888 or servidor.example:8888, or srv:_canary._tcp.example";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}", Self::EXPECTED))
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.as_str())
    }
}
