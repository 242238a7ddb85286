//! Counts over all rounds of this process, and the budgets of their log lines.

use std::time::Duration;

use daemon::http::page::Sections;
use daemon::logging::Budget;
use daemon::plural::Plural;
use daemon::supervisor::Supervised;
use daemon::sync::atomic::AtomicU64;
use daemon::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use tracing::info;

use super::history::{History, PastResult, State};
use super::metrics::Metrics;
use super::own_host::OwnHost;
use super::report::{Loss, Short};
use super::verdict::{Line, Verdict};
use crate::page::{self, View};
use crate::round::Outcome;
use crate::settings::Own;

/// Counts over all targets, and how many more log lines of single rounds may be written.
#[derive(Debug)]
pub struct Totals {
    rounds: AtomicU64,
    right: AtomicU64,
    failed: AtomicU64,
    disturbed: AtomicU64,
    skipped: AtomicU64,
    /// What each target counts for Prometheus.
    pub(crate) metrics: Metrics,
    pub(crate) history: History,
    pub(crate) own_host: OwnHost,
    pub(crate) completed_lines: Budget,
    pub(crate) failed_lines: Budget,
    pub(crate) disturbed_lines: Budget,
}

impl Totals {
    /// All zero. At most `lines_per_second` lines per second are logged for each event.
    pub fn new(lines_per_second: u32, metrics: Metrics) -> Self {
        Self {
            metrics,
            rounds: AtomicU64::new(0),
            right: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            history: History::default(),
            own_host: OwnHost::default(),
            completed_lines: Budget::new("round completed", lines_per_second),
            failed_lines: Budget::new("round failed", lines_per_second),
            disturbed_lines: Budget::new("round disturbed", lines_per_second),
        }
    }

    pub(crate) fn begun(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    /// A round has ended. Whoever sees that sees its beginning as well.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        let counter = match (outcome.disturbed, &outcome.result) {
            (Some(_), _) => &self.disturbed,
            (None, Ok(_)) => &self.right,
            (None, Err(_)) => &self.failed,
        };
        counter.fetch_add(1, Release);
    }

    pub(crate) fn skip(&self, ticks: u64) {
        self.skipped.fetch_add(ticks, Relaxed);
    }

    /// Rounds that have begun and not ended.
    pub fn under_way(&self) -> u64 {
        let [rounds, right, failed, disturbed, _] = self.counts();
        rounds - (right + failed + disturbed)
    }

    /// Logs the end of the run. Rounds that have not ended by now were cut short.
    pub fn log_stopped(&self) {
        let [rounds, right, failed, disturbed, skipped] = self.counts();
        let forced = rounds - (right + failed + disturbed);
        info!(forced, rounds, right, failed, disturbed, skipped, "stopped");
    }

    pub(crate) fn counts(&self) -> [u64; 5] {
        let ended = [&self.right, &self.failed, &self.disturbed].map(|counter| counter.load(Acquire));
        // Read last, so that no more rounds have ended than begun.
        let rounds = self.rounds.load(Relaxed);
        let [right, failed, disturbed] = ended;
        [rounds, right, failed, disturbed, self.skipped.load(Relaxed)]
    }
}

impl Supervised for Totals {
    type Own = Own;

    fn status(&self) -> String {
        let [rounds, right, failed, _, skipped] = self.counts();
        let (loss, rounds) = (Loss { failed, right }, Plural(rounds, "round"));
        let counts = format!("{rounds}, {failed} failed, {loss}, {} skipped", Plural(skipped, "tick"));
        let own_host = if self.own_host.is_in_trouble() { "this host is in trouble; " } else { "" };
        let verdict = Verdict::of(self.history.all());
        let line = Line(&verdict, self.history.now());
        if let [(only, standing)] = verdict.targets.as_slice()
            && let State::Right(_) = standing.state()
            && let Some(PastResult::Right(seconds)) = only.past().last().map(|past| past.result)
        {
            let last = Short(Duration::from_secs_f32(seconds));
            return format!("{own_host}{verdict}; {counts}; last: {} in {last}", only.name());
        }
        format!("{own_host}{line}; {counts}")
    }

    fn page(&self) -> Sections {
        page::of(&View {
            counts: self.counts(),
            verdict: &Verdict::of(self.history.all()),
            control: &self.history.control,
            own_host_in_trouble: self.own_host.is_in_trouble(),
            capacity: self.history.capacity(),
            now: self.history.now(),
        })
    }

    fn report(&self, uptime: Duration) {
        let [rounds, right, failed, disturbed, skipped] = self.counts();
        let (uptime_s, under_way) = (uptime.as_secs(), rounds - (right + failed + disturbed));
        info!(uptime_s, under_way, rounds, right, failed, disturbed, skipped, "state");
    }

    fn own_metrics(&self, text: &mut String) {
        self.metrics.write(text);
    }

    fn refill_budgets(&self, per_second: u32) -> u64 {
        let budgets = [&self.completed_lines, &self.failed_lines, &self.disturbed_lines];
        budgets.into_iter().map(|budget| budget.refill(per_second)).sum()
    }
}

#[cfg(test)]
mod tests {
    use daemon::metrics::histogram::Bounds;

    use super::*;
    use crate::round::failure::Failure;
    use crate::settings::Detail;

    #[test]
    fn the_status_says_the_worst_first_and_no_loss_without_rounds() {
        let totals = Totals::new(0, Metrics::new(Detail::Full, Bounds::new([])));
        assert_eq!(totals.status(), "no targets; 0 rounds, 0 failed, loss unknown, 0 ticks skipped");
        let rounds = totals.history.of(&"localhost:8888".parse().unwrap());
        let unknown = "localhost:8888 nothing measured; 0 rounds, 0 failed, loss unknown, 0 ticks skipped";
        assert_eq!(totals.status(), unknown);
        let lines = [Ok(Duration::from_micros(212)), Err(Failure::Closed)].map(|result| {
            let elapsed = Duration::ZERO;
            let outcome =
                Outcome { resolve: None, address: None, connect: None, result, elapsed, disturbed: None };
            totals.begun();
            totals.ended(&outcome);
            rounds.add(&outcome, 2);
            let status = totals.status();
            totals.skip(1);
            status
        });
        let right = "right; 1 round, 0 failed, 0.0 % loss, 0 ticks skipped; last: localhost:8888 in 212 µs";
        assert_eq!(lines[0], right);
        assert!(lines[1].starts_with("localhost:8888 failing since "), "{}", lines[1]);
        let failed = " UTC: closed; 2 rounds, 1 failed, 50.0 % loss, 1 tick skipped";
        assert!(lines[1].ends_with(failed), "{}", lines[1]);
    }
}
