//! Counts over all rounds of this process, and the budgets of their log lines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use daemon::logging::Budget;
use daemon::plural::Plural;
use daemon::supervisor::Supervised;
use tracing::info;

use super::history::{History, Past};
use super::report::{Short, loss};
use crate::page;
use crate::round::Outcome;
use crate::settings::Own;

/// Counts over all targets, and how many more log lines of single rounds may be written.
#[derive(Debug)]
pub struct Totals {
    under_way: AtomicU64,
    rounds: AtomicU64,
    right: AtomicU64,
    failed: AtomicU64,
    disturbed: AtomicU64,
    skipped: AtomicU64,
    pub(crate) history: History,
    pub(crate) completed_lines: Budget,
    pub(crate) failed_lines: Budget,
    pub(crate) disturbed_lines: Budget,
}

/// A round under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Totals);

impl Totals {
    /// All zero. At most `lines_per_second` lines per second are logged for each event.
    pub fn new(lines_per_second: u32) -> Self {
        Self {
            under_way: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            right: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            history: History::default(),
            completed_lines: Budget::new("round completed", lines_per_second),
            failed_lines: Budget::new("round failed", lines_per_second),
            disturbed_lines: Budget::new("round disturbed", lines_per_second),
        }
    }

    pub(crate) fn begun(&self) -> UnderWay<'_> {
        self.rounds.fetch_add(1, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self)
    }

    pub(crate) fn skip(&self, ticks: u64) {
        self.skipped.fetch_add(ticks, Relaxed);
    }

    /// Rounds that have begun and not ended.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    /// Logs the end of the run; `forced` is how many rounds were cut short.
    pub fn log_stopped(&self, forced: u64) {
        let [rounds, right, failed, disturbed, skipped] = self.counts();
        info!(forced, rounds, right, failed, disturbed, skipped, "stopped");
    }

    fn counts(&self) -> [u64; 5] {
        [&self.rounds, &self.right, &self.failed, &self.disturbed, &self.skipped]
            .map(|counter| counter.load(Relaxed))
    }
}

impl Supervised for Totals {
    type Own = Own;

    fn status(&self) -> String {
        let [rounds, right, failed, _, skipped] = self.counts();
        let loss = loss(failed, right + failed);
        let (rounds, skipped) = (Plural(rounds, "round"), Plural(skipped, "tick"));
        let counts = format!("{rounds}, {failed} failed, {loss:.1} % loss, {skipped} skipped");
        match self.history.last() {
            Some(Past { server, result: Ok(time), .. }) => {
                format!("{counts}; last: {server} in {}", Short(time))
            }
            Some(Past { server, result: Err(reason), .. }) => {
                format!("{counts}; last: {server} {}", reason.as_str())
            }
            None => counts,
        }
    }

    fn page(&self) -> String {
        page::of(self.counts(), &self.history.rounds())
    }

    fn report(&self, uptime: Duration) {
        let [rounds, right, failed, disturbed, skipped] = self.counts();
        let (uptime_s, under_way) = (uptime.as_secs(), self.under_way());
        info!(uptime_s, under_way, rounds, right, failed, disturbed, skipped, "state");
    }

    fn refill_budgets(&self, per_second: u32) -> u64 {
        let budgets = [&self.completed_lines, &self.failed_lines, &self.disturbed_lines];
        budgets.into_iter().map(|budget| budget.refill(per_second)).sum()
    }
}

impl UnderWay<'_> {
    pub(crate) fn finish(self, outcome: &Outcome) {
        let counter = match (outcome.disturbed, &outcome.result) {
            (Some(_), _) => &self.0.disturbed,
            (None, Ok(_)) => &self.0.right,
            (None, Err(_)) => &self.0.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::failure::Failure;

    #[test]
    fn the_status_tells_the_loss_and_the_last_round() {
        let totals = Totals::new(0);
        assert_eq!(totals.status(), "0 rounds, 0 failed, 0.0 % loss, 0 ticks skipped");
        let target = "localhost:8888".parse().unwrap();
        let results = [Ok(Duration::from_micros(212)), Err(Failure::Closed)];
        let lines = results.map(|result| {
            let outcome = Outcome { connect: None, result, elapsed: Duration::ZERO, disturbed: None };
            totals.begun().finish(&outcome);
            totals.history.add(&target, &outcome);
            let status = totals.status();
            totals.skip(1);
            status
        });
        let right = "1 round, 0 failed, 0.0 % loss, 0 ticks skipped; last: localhost:8888 in 212 µs";
        let failed = "2 rounds, 1 failed, 50.0 % loss, 1 tick skipped; last: localhost:8888 closed";
        assert_eq!(lines, [right, failed]);
    }
}
