//! Records rounds: in metrics, totals, the log and the report.

pub mod history;
mod lines;
pub mod metrics;
#[cfg(all(test, servidor_loom))]
mod models;
pub(crate) mod own_host;
pub mod report;
pub mod totals;
pub(crate) mod verdict;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ::metrics::{Histogram, histogram};
use daemon::event_within;
use daemon::sync::Mutex;
use protocol::{Number, answer};
use tokio_util::sync::CancellationToken;

use self::history::Probed;
use self::metrics::TargetMetrics;
use self::own_host::OwnHost;
use self::report::{Report, Skip};
use self::totals::Totals;
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
    pub(crate) schedule_delay: Histogram,
}

/// The delay of the schedule is this host's doing, so no target's.
pub(crate) fn schedule_delay() -> Histogram {
    histogram!(
        description: "From a round's intended start to its actual start, over all targets.",
        "cliente_schedule_delay_seconds"
    )
}

/// Records the rounds of one target.
pub(crate) struct Recorder {
    target: Target,
    /// Where the next round is counted.
    metrics: Mutex<Arc<TargetMetrics>>,
    rounds: Arc<Probed>,
    observers: Observers,
}

/// A round that has begun.
pub(crate) struct Begun {
    /// Where it is counted, even if the target has other labels when it ends.
    metrics: Arc<TargetMetrics>,
}

impl Recorder {
    pub(crate) fn new(target: Target, metrics: Arc<TargetMetrics>, observers: Observers) -> Self {
        let rounds = observers.totals.history.of(&target);
        Self { target, metrics: Mutex::new(metrics), rounds, observers }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Counts the rounds that begin from now on in `metrics`.
    pub(crate) fn count_in(&self, metrics: Arc<TargetMetrics>) {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = metrics;
    }

    fn metrics(&self) -> Arc<TargetMetrics> {
        Arc::clone(&self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn skipped(&self, ticks: u64, why: Skip) {
        if ticks > 0 {
            self.metrics().skipped(ticks);
            self.observers.totals.skip(ticks);
            if let Some(report) = &self.observers.report {
                report.skipped(&self.target, ticks, why);
            }
        }
    }

    pub(crate) fn begun(&self, tick: Tick) -> Begun {
        let metrics = self.metrics();
        metrics.begun();
        self.observers.schedule_delay.record(tick.delay);
        self.observers.totals.begun();
        if let Some(report) = &self.observers.report {
            report.begun(&self.target);
        }
        self.observers.started.cancel();
        Begun { metrics }
    }

    pub(crate) fn finished(&self, round: &Begun, number: &Number, outcome: &Outcome) {
        self.observers.totals.ended(outcome);
        round.metrics.finished(number, outcome);
        self.rounds.add(outcome, self.observers.totals.history.capacity());
        self.log(number, outcome);
        if let Some(report) = &self.observers.report {
            report.round(&self.target, number, outcome);
        }
    }

    /// The target is no longer probed.
    pub(crate) fn retired(&self) {
        self.observers.totals.history.forget(&self.rounds);
    }

    fn log(&self, number: &Number, outcome: &Outcome) {
        let server = self.target.as_str();
        let address = outcome.address.map(tracing::field::display);
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
                address,
                number = number.as_str(),
                digits = number.digits(),
                class = number.class().as_str(),
                reply = %String::from_utf8_lossy(answer(number)),
                resolve_us = outcome.resolve.map(microseconds),
                connect_us = outcome.connect.map(microseconds),
                round_trip_us = microseconds(*round_trip),
                "round completed"
            ),
            (None, Err(failure)) => self.log_failure(failure, outcome.address, elapsed_us),
        }
    }

    fn log_failure(&self, failure: &Failure, address: Option<SocketAddr>, elapsed_us: u64) {
        event_within!(
            self.observers.totals.failed_lines,
            WARN,
            server = self.target.as_str(),
            address = address.map(tracing::field::display),
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
