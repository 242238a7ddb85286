//! The two ledgers: what the server counted as answered, against what the clients and `cliente bench` counted as right.
//!
//! A right reply was answered. What was answered and is not right must be among the unsure ones: requests whose reply came too
//! late, was lost with its connection, came while its client was disturbed, or was not waited for at a stop.

use std::ops::{Add, AddAssign};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::Metrics;

/// Reasons of rounds that the server has not answered.
const NOT_ANSWERED: [&str; 5] = ["resolve", "refused", "unreachable", "connect_timeout", "server_error"];

/// Counts of one process, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// By the server.
    pub(super) answered: u64,
    /// By the clients, as the next two.
    pub(super) begun: u64,
    pub(super) right: u64,
    /// Maybe answered, and not right.
    pub(super) unsure: u64,
}

impl Ledger {
    pub(super) fn of_server(metrics: &Metrics) -> Self {
        Self { answered: metrics.sum("servidor_numbers_total", &[]), ..Self::default() }
    }

    pub(super) fn of_stopped_server(stopped: &Value) -> Self {
        let numbers = ["large", "even", "odd"].map(|class| stopped[class].as_u64().unwrap_or_default());
        Self { answered: numbers.iter().sum(), ..Self::default() }
    }

    pub(super) fn of_client(metrics: &Metrics) -> Self {
        let failed = metrics.sum("cliente_round_failures_total", &[]) - not_answered(metrics);
        Self {
            answered: 0,
            begun: metrics.sum("cliente_rounds_total", &[]),
            right: metrics.sum("cliente_numbers_total", &[]),
            unsure: failed + metrics.sum("cliente_rounds_disturbed_total", &[]),
        }
    }

    /// `before` was scraped before the stop: what was not answered since then is unsure, too.
    pub(super) fn of_stopped_client(before: &Metrics, stopped: &Value) -> Self {
        let [begun, right] = ["rounds", "right"].map(|count| stopped[count].as_u64().unwrap_or_default());
        Self { answered: 0, begun, right, unsure: begun - right - not_answered(before) }
    }

    /// From the report of `cliente bench`.
    pub(super) fn of_bench(report: &Value) -> anyhow::Result<Self> {
        ensure!(report["wrong"] == 0, "wrong replies: {report}");
        let count = |field: &str| report[field].as_u64().with_context(|| format!("no {field} in {report}"));
        let right = count("right")? + count("right_in_warmup")?;
        let failures = report["failures"].as_object().context("no failures")?;
        let is_unsure = |reason: &&String| !NOT_ANSWERED.contains(&reason.as_str()) && *reason != "unsent";
        let unsure = failures.iter().filter(|(reason, _)| is_unsure(reason));
        let unsure = unsure.filter_map(|(_, count)| count.as_u64()).sum();
        Ok(Self { answered: 0, begun: right + unsure, right, unsure })
    }

    /// What came since an earlier look.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            answered: self.answered - earlier.answered,
            begun: self.begun - earlier.begun,
            right: self.right - earlier.right,
            unsure: self.unsure - earlier.unsure,
        }
    }
}

/// Returns how much was answered and is not right. Fails if that cannot be, with so many requests under way.
///
/// The counts of the clients lie between two looks at the server.
pub(super) fn compare([before, after]: &[Ledger; 2], under_way: u64) -> anyhow::Result<u64> {
    let Ledger { right, unsure, .. } = *after;
    let (least, most) = (before.answered, after.answered);
    ensure!(most + under_way >= right, "{right} right replies, and only {most} were answered");
    let difference = least.saturating_sub(right);
    ensure!(
        difference <= unsure + under_way,
        "{difference} requests were answered and are not right, but only {unsure} are unsure, and {under_way} may be under way"
    );
    Ok(difference)
}

impl Add for Ledger {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            answered: self.answered + other.answered,
            begun: self.begun + other.begun,
            right: self.right + other.right,
            unsure: self.unsure + other.unsure,
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

fn not_answered(metrics: &Metrics) -> u64 {
    NOT_ANSWERED.iter().map(|reason| metrics.sum("cliente_round_failures_total", &[("reason", reason)])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_beyond_what_is_unsure_or_under_way_is_an_error() {
        let compare = |least, most, unsure, under_way| {
            let ledger = Ledger { answered: 0, begun: 200, right: 100, unsure };
            let looks = [least, most].map(|answered| Ledger { answered, ..ledger });
            compare(&looks, under_way).map_err(|error| error.to_string())
        };
        assert_eq!(compare(100, 100, 0, 0), Ok(0));
        assert_eq!(compare(104, 110, 3, 1), Ok(4));
        let error = compare(105, 110, 3, 1).unwrap_err();
        assert!(error.starts_with("5 requests were answered and are not right, but only 3"), "{error}");
        assert_eq!(compare(90, 99, 50, 1), Ok(0));
        let error = compare(90, 98, 50, 1).unwrap_err();
        assert_eq!(error, "100 right replies, and only 98 were answered");
    }

    #[test]
    fn a_round_that_was_refused_was_not_answered() {
        let text = "cliente_rounds_total{server=\"a\"} 20
cliente_numbers_total{server=\"a\",class=\"odd\"} 9
cliente_rounds_disturbed_total{server=\"a\"} 1
cliente_round_failures_total{server=\"a\",reason=\"resolve\"} 0
cliente_round_failures_total{server=\"a\",reason=\"refused\"} 4
cliente_round_failures_total{server=\"a\",reason=\"unreachable\"} 0
cliente_round_failures_total{server=\"a\",reason=\"connect_timeout\"} 0
cliente_round_failures_total{server=\"a\",reason=\"server_error\"} 1
cliente_round_failures_total{server=\"a\",reason=\"reply_timeout\"} 3
";
        let metrics = Metrics::parse(text.to_owned());
        assert_eq!(Ledger::of_client(&metrics), Ledger { answered: 0, begun: 20, right: 9, unsure: 4 });
        let stopped = serde_json::json!({ "rounds": 22, "right": 10 });
        let expected = Ledger { answered: 0, begun: 22, right: 10, unsure: 7 };
        assert_eq!(Ledger::of_stopped_client(&metrics, &stopped), expected);
    }
}
