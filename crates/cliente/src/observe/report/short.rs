//! Durations for people.

use std::fmt;
use std::time::Duration;

/// A duration in three digits and a unit.
pub(crate) struct Short(pub(crate) Duration);

impl fmt::Display for Short {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (value, unit) = match seconds {
            // Just below a thousand, three digits would round up to four.
            ..0.000_999_5 => (seconds * 1e6, "µs"),
            ..0.999_5 => (seconds * 1e3, "ms"),
            _ => (seconds, "s"),
        };
        let decimals = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        formatter.pad(&format!("{value:.decimals$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(nanoseconds: u64) -> String {
        Short(Duration::from_nanos(nanoseconds)).to_string()
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let table = [
            (0, "0.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (88_123, "88.1 µs"),
            (999_499, "999 µs"),
            (999_501, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (999_600_000, "1.00 s"),
            (3_000_000_000, "3.00 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (nanoseconds, text) in table {
            assert_eq!(short(nanoseconds), text);
        }
    }
}
