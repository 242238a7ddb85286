//! What becomes of a target's rounds: metrics, totals, a log line, a line of the report.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use daemon::event_within;
use protocol::{Number, answer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::probe::Shared;
use crate::report::Report;
use crate::round::Outcome;
use crate::schedule::Tick;
use crate::target::Target;
use crate::totals::{Totals, UnderWay};

/// What a report is made of.
#[derive(Debug)]
pub(crate) enum Event {
    Round(Number, Outcome),
    Skipped(u64),
}

impl Event {
    pub(crate) fn print<W: Write>(self, report: &mut Report<W>, target: &Target) -> io::Result<()> {
        match self {
            Self::Round(number, outcome) => report.round(target, &number, &outcome),
            Self::Skipped(ticks) => {
                report.skipped(target, ticks);
                Ok(())
            }
        }
    }
}

/// The books of one target.
pub(crate) struct Books {
    target: Target,
    metrics: Metrics,
    totals: Arc<Totals>,
    started: CancellationToken,
    events_to: Option<mpsc::UnboundedSender<(Target, Event)>>,
}

impl Books {
    pub(crate) fn open(target: Target, shared: &Shared) -> Self {
        let Shared { totals, started, events_to, .. } = shared.clone();
        Self { metrics: Metrics::register(&target), target, totals, started, events_to }
    }

    pub(crate) fn skipped(&self, ticks: u64) {
        if ticks > 0 {
            self.metrics.skipped(ticks);
            self.totals.skip(ticks);
            self.report(Event::Skipped(ticks));
        }
    }

    pub(crate) fn begun(&self, tick: Tick) -> UnderWay<'_> {
        self.metrics.begun(tick.delay);
        let under_way = self.totals.begun();
        self.started.cancel();
        under_way
    }

    pub(crate) fn finished(&self, under_way: UnderWay<'_>, number: Number, outcome: Outcome) {
        under_way.finish(outcome.result.is_ok());
        self.metrics.finished(&number, &outcome);
        self.totals.history.add(&self.target, &outcome);
        self.log(&number, &outcome);
        self.report(Event::Round(number, outcome));
    }

    /// The target is not asked any more.
    pub(crate) fn close(self) {
        self.metrics.retired();
    }

    fn log(&self, number: &Number, outcome: &Outcome) {
        let server = self.target.as_str();
        match &outcome.result {
            Ok(round_trip) => event_within!(
                self.totals.completed_lines,
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
            Err(failure) => event_within!(
                self.totals.failed_lines,
                WARN,
                server,
                reason = failure.reason().as_str(),
                error = %failure,
                elapsed_us = microseconds(outcome.elapsed),
                "round failed"
            ),
        }
    }

    fn report(&self, event: Event) {
        if let Some(events) = &self.events_to {
            // The report ends before the probes only if it could not be printed.
            let _ = events.send((self.target.clone(), event));
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
