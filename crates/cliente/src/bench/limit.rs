//! Limits that fail a run, such as `p99 > 2ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hdrhistogram::Histogram;
use thiserror::Error;

use super::Outcome;
use crate::observe::report::Short;

/// The quantiles that are reported, with their names.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// What a run is measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Latencies, in nanoseconds.
    Quantile(f64),
    Max,
    Mean,
    /// In percent.
    Errors,
    /// Right replies a second.
    Throughput,
}

/// A metric and the value that it must not exceed; the throughput must not fall below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    text: String,
    metric: Metric,
    value: f64,
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// There is no comparison in it.
    #[error(
        "expected a comparison, such as 'p99 > 2ms', 'errors > 0.1%' or 'throughput < 10000'; \
         the run fails when it is true"
    )]
    Comparison,
    /// The metric is unknown.
    #[error("{0:?}: expected p50, p90, p99, p99.9, p99.99, max, mean, errors, loss or throughput")]
    Metric(String),
    /// The comparison goes the wrong way.
    #[error("expected '{0} {1} ...': the run fails when the comparison is true")]
    Direction(String, char),
    /// The value is not one of the metric.
    #[error("{0:?}: expected {1}")]
    Value(String, &'static str),
}

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "max" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "errors" | "loss" => Some(Self::Errors),
            "throughput" => Some(Self::Throughput),
            _ => QUANTILES
                .iter()
                .find_map(|&(known, quantile)| (known == name).then_some(Self::Quantile(quantile))),
        }
    }

    fn expected_value(self) -> &'static str {
        match self {
            Self::Quantile(_) | Self::Max | Self::Mean => "a duration, such as 2ms or 500us",
            Self::Errors => "a percentage, such as 0.1%",
            Self::Throughput => "replies a second, such as 10000",
        }
    }

    fn parse_value(self, text: &str) -> Option<f64> {
        let number = |text: &str| {
            text.trim_end().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
        };
        match self {
            Self::Errors => number(text.strip_suffix('%')?),
            Self::Throughput => number(text),
            _ => humantime::parse_duration(text).ok().map(|time| time.as_secs_f64() * 1e9),
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (name, value) = text.split_once(['<', '>']).ok_or(LimitError::Comparison)?;
        let (name, value) = (name.trim(), value.trim());
        let metric = Metric::parse(name).ok_or_else(|| LimitError::Metric(name.to_owned()))?;
        let expected = if metric == Metric::Throughput { '<' } else { '>' };
        if !text.contains(expected) {
            return Err(LimitError::Direction(name.to_owned(), expected));
        }
        let wrong = || LimitError::Value(value.to_owned(), metric.expected_value());
        let limit = metric.parse_value(value).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), metric, value: limit })
    }
}

impl Limit {
    /// Whether it says how many errors a run may have.
    pub(super) fn is_on_errors(&self) -> bool {
        self.metric == Metric::Errors
    }

    /// The metric's value: nanoseconds, percent, or replies a second. Nothing, if nothing was measured.
    #[expect(clippy::cast_precision_loss, reason = "histograms keep three digits")]
    pub(super) fn measured(&self, outcome: &Outcome) -> Option<f64> {
        let latency = Some(&outcome.tally.latency).filter(|latency| !latency.is_empty());
        match self.metric {
            Metric::Quantile(quantile) => latency.map(|latency| latency.value_at_quantile(quantile) as f64),
            Metric::Max => latency.map(|latency| latency.max() as f64),
            Metric::Mean => latency.map(Histogram::mean),
            Metric::Errors => outcome.error_percentage(),
            Metric::Throughput => outcome.throughput(),
        }
    }

    /// Whether it fails the run.
    pub(super) fn is_broken(&self, outcome: &Outcome) -> bool {
        self.measured(outcome).is_none_or(|measured| match self.metric {
            Metric::Throughput => measured < self.value,
            _ => measured > self.value,
        })
    }

    /// What was measured, for people.
    pub(super) fn describe(&self, outcome: &Outcome) -> String {
        match (self.measured(outcome), self.metric) {
            (None, _) => "nothing was measured".to_owned(),
            (Some(percent), Metric::Errors) => format!("{percent:.3} % were measured"),
            (Some(rate), Metric::Throughput) => format!("{rate:.0} a second were measured"),
            (Some(nanoseconds), _) => {
                format!("{} was measured", Short(Duration::from_secs_f64(nanoseconds / 1e9)))
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_and_without_spaces() {
        for (text, metric, value) in [
            ("p99 > 2ms", Metric::Quantile(0.99), 2e6),
            ("p99.9>1.5ms", Metric::Quantile(0.999), 1.5e6),
            (" max > 1s ", Metric::Max, 1e9),
            ("mean > 500us", Metric::Mean, 5e5),
            ("errors > 0.1%", Metric::Errors, 0.1),
            ("loss > 1 %", Metric::Errors, 1.0),
            ("throughput < 10000", Metric::Throughput, 1e4),
        ] {
            let limit: Limit = text.parse().expect(text);
            assert_eq!((limit.metric, limit.value.round()), (metric, f64::round(value)), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_says_what_is_expected() {
        for (text, expected) in [
            ("p99", "expected a comparison, such as 'p99 > 2ms'"),
            ("p98 > 2ms", "\"p98\": expected p50, p90, "),
            ("p99 < 2ms", "expected 'p99 > ...'"),
            ("throughput > 5", "expected 'throughput < ...'"),
            ("p99 > 2", "\"2\": expected a duration"),
            ("p99 >= 2ms", "\"= 2ms\": expected a duration"),
            ("errors > 1", "\"1\": expected a percentage"),
            ("throughput < NaN", "\"NaN\": expected replies a second"),
        ] {
            let error = text.parse::<Limit>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
