//! The types of settings: values are parsed once, and are valid from then on.

use std::fmt::{self, Write as _};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A value that can be written as text.
pub trait Value: Sized + Clone + PartialEq {
    /// What a value looks like, after "expected".
    const EXPECTED: &'static str;
    /// Values that completions offer: all if there are few, else the common ones.
    const SUGGESTIONS: &'static [&'static str] = &[];
    /// Whether it takes several values, separated by commas.
    const LIST: bool = false;
    /// Whether it may be empty.
    const MAY_BE_EMPTY: bool = false;
    /// Whether TOML writes it without quotes.
    const BARE: bool = false;

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// What was expected: [`Value::EXPECTED`], or something more specific.
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads the value that is in force where no source gives one.
    ///
    /// # Errors
    ///
    /// As [`Value::parse`].
    fn parse_default(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    /// The value as TOML.
    fn to_toml(&self) -> String;
}

/// Implements [`Value`] for an enum: `Type, "what is expected", Variant = "word", ...`.
#[macro_export]
macro_rules! choice {
    ($Type:ty, $expected:literal, $($Variant:ident = $word:literal),+) => {
        impl $crate::settings::Value for $Type {
            const EXPECTED: &'static str = $expected;
            const SUGGESTIONS: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err(concat!("expected ", $expected).to_owned()),
                }
            }

            fn to_toml(&self) -> String {
                match self {
                    $( Self::$Variant => concat!("\"", $word, "\"").to_owned(), )+
                }
            }
        }
    };
}

/// Quotes `text` for TOML, whose escapes are not those of Rust.
pub fn quoted(text: &str) -> String {
    let mut toml = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => toml.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(toml, "\\u{:04x}", u32::from(control));
            }
            other => toml.push(other),
        }
    }
    toml + "\""
}

/// `expected …`, as all messages begin.
pub(super) fn expected<T: Value>() -> String {
    format!("expected {}", T::EXPECTED)
}

/// A time span greater than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// The longest value. Beyond it clocks overflow, and it is probably a mistake.
    const LONGEST: Duration = Duration::from_hours(24 * 365);

    /// The span.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", humantime::format_duration(self.0))
    }
}

impl Value for Period {
    const EXPECTED: &'static str = "a duration from 1ms to 365days, such as 200ms, 10s or 1m";

    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .ok()
            .filter(|duration| (Duration::from_millis(1)..=Self::LONGEST).contains(duration))
            .map(Self)
            .ok_or_else(expected::<Self>)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A time span that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(Duration);

impl Delay {
    /// The span.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Value for Delay {
    const EXPECTED: &'static str = "a duration from 0s to 365days, such as 500ms, 10s or 1m";

    fn parse(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text).ok();
        duration.filter(|duration| *duration <= Period::LONGEST).map(Self).ok_or_else(expected::<Self>)
    }

    fn to_toml(&self) -> String {
        quoted(&humantime::format_duration(self.0).to_string())
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number, for use as a size.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl<const MIN: u32, const MAX: u32> Value for Count<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| format!("expected a whole number from {MIN} to {MAX}"))
    }

    fn to_toml(&self) -> String {
        self.0.to_string()
    }
}

/// One or more values without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// The values, in the order given.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: Value> Value for List<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const SUGGESTIONS: &'static [&'static str] = T::SUGGESTIONS;
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut values = Vec::new();
        for item in text.split(',').map(str::trim) {
            let value = T::parse(item)
                .map_err(|problem| if text == item { problem } else { format!("{item:?}: {problem}") })?;
            if values.contains(&value) {
                return Err(format!("{item:?} is given twice"));
            }
            values.push(value);
        }
        Ok(Self(values))
    }

    fn to_toml(&self) -> String {
        let items: Vec<String> = self.0.iter().map(Value::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for std::net::SocketAddr {
    const EXPECTED: &'static str = "an address and a port, such as 127.0.0.1:8888 or [::1]:8888";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| expected::<Self>())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Turns an IPv4-mapped network into its IPv4 network, because mapped peers count as their IPv4 address.
fn as_peers_count(network: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let mapped = |network: Ipv6Net| {
        let address = network.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, network.prefix_len().checked_sub(MAPPED_PREFIX)?).ok()
    };
    match network {
        IpNet::V6(network) => mapped(network).map_or(IpNet::V6(network), IpNet::V4),
        IpNet::V4(_) => network,
    }
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a network or an address, such as 192.0.2.0/24, ::1/128 or 192.0.2.7";

    fn parse(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(Self::from));
        // 192.0.2.7/24 means 192.0.2.0/24, and TOML should show that.
        network.map(|network| as_peers_count(network).trunc()).map_err(|_| expected::<Self>())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_toml_and_not_rust() {
        for text in ["", "a\"b\\c", "\0\u{1}\t\n\u{7f}\u{85}", "\u{200b}é\u{1f600}", "'"] {
            let document = format!("x = {}", quoted(text));
            let (table, errors) = toml::de::DeTable::parse_recoverable(&document);
            let value = table.get_ref().get("x").and_then(|value| value.get_ref().as_str());
            assert_eq!((value, errors.len()), (Some(text), 0), "{document}");
        }
    }

    #[test]
    fn networks_are_what_peers_are_compared_with() {
        for (text, toml) in [
            ("192.0.2.7", "\"192.0.2.7/32\""),
            ("192.0.2.7/24", "\"192.0.2.0/24\""),
            ("::ffff:10.1.2.3/104", "\"10.0.0.0/8\""),
            ("::ffff:10.1.2.3", "\"10.1.2.3/32\""),
            ("::/0", "\"::/0\""),
            ("2001:db8::1/32", "\"2001:db8::/32\""),
        ] {
            assert_eq!(IpNet::parse(text).expect(text).to_toml(), toml, "{text}");
        }
    }
}
