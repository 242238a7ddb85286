//! The counts and times of one target, or of all together, for the summary.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::round::Outcome;
use crate::round::reason::Reason;

/// An hour in nanoseconds. Longer times count as this in percentiles.
const LONGEST: u64 = 3_600_000_000_000;

/// Why ticks passed without a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// The last round still ran.
    Busy,
    /// They came a whole interval late, since this process did not run in time.
    Late,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) begun: u64,
    pub(super) right: u64,
    pub(super) failures: [u64; Reason::ALL.len()],
    pub(super) disturbed: u64,
    /// Ticks skipped while the last round ran.
    pub(super) busy: u64,
    /// Ticks skipped because they came too late.
    pub(super) late: u64,
    pub(super) resolve: Latency,
    pub(super) connect: Latency,
    pub(super) round_trip: Latency,
}

/// Percentiles; the histogram's steps are finer than the three digits that are printed.
#[derive(Debug)]
pub(super) struct Latency {
    histogram: Histogram<u64>,
    sum: Duration,
    min: Duration,
    max: Duration,
}

impl Tally {
    pub(super) fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    pub(super) fn ended(&self) -> u64 {
        self.right + self.failed() + self.disturbed
    }

    /// Rounds that have begun and not ended.
    pub(super) fn cut_short(&self) -> u64 {
        self.begun - self.ended()
    }

    pub(super) fn loss(&self) -> Loss {
        Loss { failed: self.failed(), right: self.right }
    }

    /// Whether there were right rounds, and none that failed.
    pub(super) fn all_right(&self) -> bool {
        self.right > 0 && self.failed() == 0
    }

    /// The reasons of failures that occurred, and how often.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|reason| reason.as_str());
        names.zip(self.failures).filter(|(_, count)| *count > 0)
    }

    pub(super) fn skip(&mut self, ticks: u64, why: Skip) {
        match why {
            Skip::Busy => self.busy += ticks,
            Skip::Late => self.late += ticks,
        }
    }

    pub(super) fn round(&mut self, outcome: &Outcome) {
        match (outcome.disturbed, &outcome.result) {
            (Some(_), _) => self.disturbed += 1,
            (None, Err(failure)) => self.failures[failure.reason().index()] += 1,
            (None, Ok(round_trip)) => {
                self.right += 1;
                self.round_trip.record(*round_trip);
                for (time, latency) in
                    [(outcome.resolve, &mut self.resolve), (outcome.connect, &mut self.connect)]
                {
                    if let Some(time) = time {
                        latency.record(time);
                    }
                }
            }
        }
    }

    /// The counts of all tallies. Their times are not merged.
    pub(super) fn sum<'a>(tallies: impl Iterator<Item = &'a Self>) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.begun += tally.begun;
            sum.right += tally.right;
            for (sum, count) in sum.failures.iter_mut().zip(tally.failures) {
                *sum += count;
            }
            sum.disturbed += tally.disturbed;
            sum.busy += tally.busy;
            sum.late += tally.late;
            sum
        })
    }
}

/// The share of rounds that failed. Without a round that was measured there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) failed: u64,
    pub(crate) right: u64,
}

impl Loss {
    /// In per cent.
    #[expect(clippy::cast_precision_loss, reason = "a share with one decimal")]
    pub(crate) fn percent(self) -> Option<f64> {
        let rounds = self.failed + self.right;
        (rounds > 0).then(|| 100.0 * self.failed as f64 / rounds as f64)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent() {
            Some(percent) => write!(formatter, "{percent:.1} % loss"),
            None => write!(formatter, "loss unknown"),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        // It grows with what is recorded: there may be thousands.
        let mut histogram = Histogram::new(3).expect("three digits are allowed");
        histogram.auto(true);
        Self { histogram, sum: Duration::ZERO, min: Duration::MAX, max: Duration::ZERO }
    }
}

/// The statistics of the times of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) min: Duration,
    pub(super) mean: Duration,
    pub(super) p50: Duration,
    pub(super) p90: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Times {
    /// All of them with their names, in the order of tables.
    pub(super) fn named(self) -> [(&'static str, Duration); 6] {
        let Self { min, mean, p50, p90, p99, max } = self;
        [("min", min), ("mean", mean), ("p50", p50), ("p90", p90), ("p99", p99), ("max", max)]
    }
}

impl Latency {
    fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(LONGEST);
        self.histogram.record(nanoseconds).expect("it grows");
        self.sum += time;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }

    /// `None` if nothing was recorded.
    pub(super) fn times(&self) -> Option<Times> {
        let samples = self.histogram.len();
        (samples > 0).then(|| Times {
            min: self.min,
            mean: Duration::from_nanos_u128(self.sum.as_nanos() / u128::from(samples)),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            max: self.max,
        })
    }

    fn quantile(&self, quantile: f64) -> Duration {
        // The middle of the step in which it lies; that may be beyond what was measured.
        let middle = self.histogram.median_equivalent(self.histogram.value_at_quantile(quantile));
        Duration::from_nanos(middle).clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::short::Short;
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latency = Latency::default();
        assert_eq!(latency.times(), None);
        for microseconds in 1..=1000 {
            latency.record(Duration::from_micros(microseconds));
        }
        let times = latency.times().unwrap().named().map(|(_, time)| Short(time).to_string());
        assert_eq!(times, ["1.00 µs", "500 µs", "500 µs", "900 µs", "990 µs", "1.00 ms"]);
    }

    #[test]
    fn without_a_measured_round_the_loss_is_unknown() {
        let told = |failed, right| Loss { failed, right }.to_string();
        assert_eq!(told(0, 0), "loss unknown");
        assert_eq!([told(0, 3), told(1, 2), told(5, 0)], ["0.0 % loss", "33.3 % loss", "100.0 % loss"]);
    }
}
