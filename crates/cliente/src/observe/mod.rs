//! Records rounds: in metrics, totals, the log and the report.

pub mod history;
mod lines;
pub(crate) mod metrics;
pub mod report;
pub mod totals;
pub(crate) mod verdict;

use std::sync::Arc;
use std::time::Duration;

use daemon::event_within;
use protocol::{Number, answer};
use tokio_util::sync::CancellationToken;

use self::history::Rounds;
use self::metrics::Metrics;
use self::report::{Report, Skip};
use self::totals::{Totals, UnderWay};
use crate::control::OwnHost;
use crate::round::Outcome;
use crate::round::failure::Failure;
use crate::schedule::Tick;
use crate::targets::target::Target;

/// Where the rounds of all targets are recorded.
#[derive(Clone)]
pub(crate) struct Observers {
    pub(crate) totals: Arc<Totals>,
    /// Cancelled when the first round begins.
    pub(crate) started: CancellationToken,
    /// The report, if there is one.
    pub(crate) report: Option<Arc<Report>>,
    pub(crate) own_host: OwnHost,
}

/// Records the rounds of one target.
pub(crate) struct Recorder {
    target: Target,
    metrics: Metrics,
    rounds: Arc<Rounds>,
    observers: Observers,
}

impl Recorder {
    pub(crate) fn new(target: Target, observers: Observers) -> Self {
        let rounds = observers.totals.history.of(&target);
        Self { metrics: Metrics::register(&target), target, rounds, observers }
    }

    pub(crate) fn skipped(&self, ticks: u64, why: Skip) {
        if ticks > 0 {
            self.metrics.skipped(ticks);
            self.observers.totals.skip(ticks);
            if let Some(report) = &self.observers.report {
                report.skipped(&self.target, ticks, why);
            }
        }
    }

    pub(crate) fn begun(&self, tick: Tick) -> UnderWay<'_> {
        self.metrics.begun(tick.delay);
        let under_way = self.observers.totals.begun();
        if let Some(report) = &self.observers.report {
            report.begun(&self.target);
        }
        self.observers.started.cancel();
        under_way
    }

    pub(crate) fn finished(&self, under_way: UnderWay<'_>, number: &Number, outcome: &Outcome) {
        under_way.finish(outcome);
        self.metrics.finished(number, outcome);
        self.rounds.add(outcome, self.observers.totals.history.capacity());
        self.log(number, outcome);
        if let Some(report) = &self.observers.report {
            report.round(&self.target, number, outcome);
        }
    }

    /// The target is no longer probed.
    pub(crate) fn retired(self) {
        self.metrics.retired();
        self.observers.totals.history.forget(self.rounds);
    }

    fn log(&self, number: &Number, outcome: &Outcome) {
        let server = self.target.as_str();
        let elapsed_us = microseconds(outcome.elapsed);
        match (outcome.disturbed, &outcome.result) {
            (Some(stalled), result) => event_within!(
                self.observers.totals.disturbed_lines,
                WARN,
                server,
                stalled_us = microseconds(stalled),
                elapsed_us,
                reason = result.as_ref().err().map(|failure| failure.reason().as_str()),
                "round disturbed"
            ),
            (None, Ok(round_trip)) => event_within!(
                self.observers.totals.completed_lines,
                INFO,
                server,
                number = number.as_str(),
                digits = number.digits(),
                class = number.class().as_str(),
                reply = %String::from_utf8_lossy(answer(number)),
                connect_us = outcome.connect.map(microseconds),
                round_trip_us = microseconds(*round_trip),
                "round completed"
            ),
            (None, Err(failure)) => self.log_failure(failure, elapsed_us),
        }
    }

    fn log_failure(&self, failure: &Failure, elapsed_us: u64) {
        event_within!(
            self.observers.totals.failed_lines,
            WARN,
            server = self.target.as_str(),
            reason = failure.reason().as_str(),
            error = %failure,
            elapsed_us,
            own_host = self.observers.own_host.is_in_trouble().then_some(true),
            "round failed"
        );
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
