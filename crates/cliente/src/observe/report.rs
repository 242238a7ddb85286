//! What `--count` prints: one line per round, then a summary of each target, as `ping` does.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::plural::Plural;
use hdrhistogram::Histogram;
use protocol::Number;

use super::lines::Lines;
use crate::round::Outcome;
use crate::targets::target::Target;

/// In nanoseconds: an hour. Percentiles of what takes longer are told as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Prints rounds, and remembers what the summary needs.
#[derive(Debug)]
pub struct Report {
    tallies: Mutex<Vec<Tally>>,
    lines: Lines,
}

#[derive(Debug)]
struct Tally {
    target: Target,
    begun: u64,
    right: u64,
    failed: u64,
    disturbed: u64,
    skipped: u64,
    connect: Latency,
    round_trip: Latency,
}

/// Percentiles in bounded memory; the histogram's steps are finer than the three digits that are printed.
#[derive(Debug)]
struct Latency {
    histogram: Histogram<u64>,
    sum: Duration,
    min: Duration,
    max: Duration,
}

impl Report {
    /// Prints the heading to `out`. The summary will be in the order of `targets`, then of those that came later.
    ///
    /// # Errors
    ///
    /// If there can be no thread that writes.
    pub fn begin(out: impl Write + Send + 'static, targets: &[Target]) -> io::Result<Self> {
        let lines = Lines::to(out)?;
        lines.offer(format!("{:>4}  {:>30}  {:<5}  connect round trip  target\n", "#", "number", "class"));
        let tallies = targets.iter().cloned().map(Tally::new).collect();
        Ok(Self { tallies: Mutex::new(tallies), lines })
    }

    /// Counts a round that begins.
    pub(crate) fn begun(&self, target: &Target) {
        self.update(target, |tally| tally.begun += 1);
    }

    /// Prints one round. Never waits for a reader.
    pub(crate) fn round(&self, target: &Target, number: &Number, outcome: &Outcome) {
        let line = self.update(target, |tally| tally.round(number, outcome));
        self.lines.offer(line);
    }

    /// Remembers ticks without a round.
    pub(crate) fn skipped(&self, target: &Target, ticks: u64) {
        self.update(target, |tally| tally.skipped += ticks);
    }

    /// Prints the summary of each target, once all else has been printed.
    ///
    /// # Errors
    ///
    /// If anything could not be written.
    pub fn end(&self) -> io::Result<()> {
        let summaries: Vec<String> = self.lock().iter().map(|tally| format!("\n{tally}")).collect();
        self.lines.finish(summaries.concat())
    }

    /// Waits until something could not be written.
    pub async fn broken(&self) {
        self.lines.broken().await;
    }

    /// Whether every target has had a right round, and none that failed.
    pub fn all_right(&self) -> bool {
        self.lock().iter().all(|tally| tally.right > 0 && tally.failed == 0)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, target: &Target, update: impl FnOnce(&mut Tally) -> T) -> T {
        let mut tallies = self.lock();
        let known = tallies.iter().position(|tally| tally.target == *target);
        let index = known.unwrap_or_else(|| {
            tallies.push(Tally::new(target.clone()));
            tallies.len() - 1
        });
        update(&mut tallies[index])
    }
}

/// The share of rounds that failed, in per cent; 0 if there are none.
#[expect(clippy::cast_precision_loss, reason = "a share for people, with one decimal")]
pub(crate) fn loss(failed: u64, rounds: u64) -> f64 {
    if failed == 0 { 0.0 } else { 100.0 * failed as f64 / rounds as f64 }
}

impl Tally {
    fn new(target: Target) -> Self {
        let (connect, round_trip) = (Latency::new(), Latency::new());
        Self { target, begun: 0, right: 0, failed: 0, disturbed: 0, skipped: 0, connect, round_trip }
    }

    fn ended(&self) -> u64 {
        self.right + self.failed + self.disturbed
    }

    /// Counts a round, and returns its line.
    fn round(&mut self, number: &Number, outcome: &Outcome) -> String {
        let result = match (outcome.disturbed, &outcome.result) {
            (Some(_), _) => {
                self.disturbed += 1;
                format!("{:<15} {:>9}", "disturbed", Short(outcome.elapsed))
            }
            (None, Ok(round_trip)) => {
                self.right += 1;
                self.round_trip.record(*round_trip);
                if let Some(connect) = outcome.connect {
                    self.connect.record(connect);
                }
                let connect = outcome.connect.map_or_else(|| "kept".into(), |time| Short(time).to_string());
                format!("{:<5}  {connect:>7} {:>10}", number.class().as_str(), Short(*round_trip))
            }
            (None, Err(failure)) => {
                self.failed += 1;
                format!("{:<15} {:>9}", failure.reason().as_str(), Short(outcome.elapsed))
            }
        };
        format!("{:>4}  {:>30}  {result}  {}\n", self.ended(), number.as_str(), self.target)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, right, failed, disturbed, .. } = self;
        let cut = self.begun - self.ended();
        let loss = loss(*failed, right + failed);
        let (rounds, skipped) = (Plural(self.begun, "round"), Plural(self.skipped, "tick"));
        writeln!(formatter, "--- {target} ---")?;
        write!(formatter, "{rounds}, {right} right, {failed} failed, {loss:.1} % loss")?;
        for (count, name) in [(*disturbed, "disturbed"), (cut, "cut short")] {
            if count > 0 {
                write!(formatter, ", {count} {name}")?;
            }
        }
        writeln!(formatter, ", {skipped} skipped")?;
        write!(formatter, "{:<10}", "")?;
        for heading in ["min", "mean", "p50", "p90", "p99", "max"] {
            write!(formatter, " {heading:>9}")?;
        }
        writeln!(formatter, "\n{:<10}{}", "connect", self.connect)?;
        writeln!(formatter, "{:<10}{}", "round trip", self.round_trip)
    }
}

impl Latency {
    fn new() -> Self {
        let histogram = Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed");
        Self { histogram, sum: Duration::ZERO, min: Duration::MAX, max: Duration::ZERO }
    }

    fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.sum += time;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }

    fn quantile(&self, quantile: f64) -> Duration {
        // The middle of the step in which it lies; that may be beyond what was measured.
        let middle = self.histogram.median_equivalent(self.histogram.value_at_quantile(quantile));
        Duration::from_nanos(middle).clamp(self.min, self.max)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.histogram.len();
        if samples == 0 {
            return (0..6).try_for_each(|_| write!(formatter, " {:>9}", "-"));
        }
        let mean = Duration::from_nanos_u128(self.sum.as_nanos() / u128::from(samples));
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|quantile| self.quantile(quantile));
        [self.min, mean, p50, p90, p99, self.max]
            .iter()
            .try_for_each(|&time| write!(formatter, " {:>9}", Short(time)))
    }
}

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
    use std::io::{Read, Seek, SeekFrom};
    use std::slice::from_ref;

    use super::*;
    use crate::round::failure::Failure;

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

    fn right(connect: Option<u64>, round_trip: u64) -> Outcome {
        let round_trip = Duration::from_micros(round_trip);
        Outcome {
            connect: connect.map(Duration::from_micros),
            result: Ok(round_trip),
            elapsed: round_trip,
            disturbed: None,
        }
    }

    #[test]
    fn a_whole_report_fits_in_80_columns() {
        let out = tempfile::tempfile().expect("a file");
        let target: Target = "127.0.0.1:8888".parse().expect("a target");
        let report = Report::begin(out.try_clone().expect("a file"), from_ref(&target)).expect("a thread");
        let number = |text: &str| Number::parse(text.as_bytes()).expect("a number");
        let failed = Outcome {
            connect: None,
            result: Err(Failure::ConnectTimeout(Duration::from_secs(3))),
            elapsed: Duration::from_secs(3),
            disturbed: None,
        };
        let rounds = [
            (number("123456789012345678901234567890"), right(Some(345), 88)),
            (number("42"), right(None, 1234)),
            (number("12345678901"), failed),
        ];
        for (number, outcome) in &rounds {
            report.begun(&target);
            report.round(&target, number, outcome);
        }
        report.skipped(&target, 2);
        assert!(!report.all_right());
        report.end().expect("a file takes all");
        let mut text = String::new();
        (&out).seek(SeekFrom::Start(0)).and_then(|_| (&out).read_to_string(&mut text)).expect("UTF-8");
        assert_eq!(
            text,
            "   #                          number  class  connect round trip  target
   1  123456789012345678901234567890  large   345 µs    88.0 µs  127.0.0.1:8888
   2                              42  even      kept    1.23 ms  127.0.0.1:8888
   3                     12345678901  connect_timeout    3.00 s  127.0.0.1:8888

--- 127.0.0.1:8888 ---
3 rounds, 2 right, 1 failed, 33.3 % loss, 2 ticks skipped
                 min      mean       p50       p90       p99       max
connect       345 µs    345 µs    345 µs    345 µs    345 µs    345 µs
round trip   88.0 µs    661 µs   88.0 µs   1.23 ms   1.23 ms   1.23 ms
"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latency = Latency::new();
        for microseconds in 1..=1000 {
            latency.record(Duration::from_micros(microseconds));
        }
        assert_eq!(latency.to_string(), "   1.00 µs    500 µs    500 µs    900 µs    990 µs   1.00 ms");
    }
}
