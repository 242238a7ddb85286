//! What `--count` prints: a line for each round, then a summary, as `ping` does.

mod json;
mod short;
mod tally;
mod text;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Number;

pub(crate) use self::short::Short;
use self::tally::Tally;
pub(crate) use self::tally::{Loss, Skip};
use super::lines::Lines;
use crate::round::Outcome;
use crate::settings::Limited;
use crate::targets::target::Target;

/// Prints rounds, and remembers what the summary needs.
#[derive(Debug)]
pub struct Report {
    limited: Limited,
    interval: Duration,
    /// Whether there is a column for the time to resolve: addresses need none.
    resolves: bool,
    tallies: Mutex<Tallies>,
    lines: Lines,
}

/// The tallies in the order of the summary, and where each target's is.
#[derive(Debug, Default)]
struct Tallies {
    in_order: Vec<(Target, Tally)>,
    positions: HashMap<Target, usize>,
}

impl Report {
    /// Begins a report to `out`. The summary will be in the order of `targets`, then of those that came later.
    ///
    /// # Errors
    ///
    /// If there can be no thread that writes.
    pub fn begin(
        out: impl Write + Send + 'static,
        limited: Limited,
        interval: Duration,
        targets: &[Target],
    ) -> io::Result<Self> {
        let lines = Lines::to(out)?;
        let resolves = targets.iter().any(|target| target.address().is_none());
        if !limited.quiet && !limited.json {
            lines.offer(text::heading(resolves));
        }
        let mut tallies = Tallies::default();
        for target in targets {
            tallies.of(target);
        }
        Ok(Self { limited, interval, resolves, tallies: Mutex::new(tallies), lines })
    }

    /// Counts a round that begins.
    pub(crate) fn begun(&self, target: &Target) {
        self.tallies().of(target).begun += 1;
    }

    /// Counts a round and prints it. Never waits for a reader.
    pub(crate) fn round(&self, target: &Target, number: &Number, outcome: &Outcome) {
        let mut tallies = self.tallies();
        let tally = tallies.of(target);
        tally.round(outcome);
        if self.limited.quiet {
            return;
        }
        let line = if self.limited.json {
            json::round(tally, target, number, outcome)
        } else {
            text::round(tally, target, number, outcome, self.resolves)
        };
        drop(tallies);
        self.lines.offer(line);
    }

    /// Counts ticks without a round.
    pub(crate) fn skipped(&self, target: &Target, ticks: u64, why: Skip) {
        self.tallies().of(target).skip(ticks, why);
    }

    /// Prints the summary, once all else has been printed.
    ///
    /// # Errors
    ///
    /// If anything could not be written.
    pub fn end(&self) -> io::Result<()> {
        let summary = if self.limited.json { json::summary } else { text::summary };
        // Below rounds the text has a line between.
        let gap = if self.limited.json || self.limited.quiet { "" } else { "\n" };
        self.lines
            .finish(|not_shown| gap.to_owned() + &summary(&self.tallies().in_order, not_shown, self.interval))
    }

    /// Waits until something could not be written.
    pub async fn broken(&self) {
        self.lines.broken().await;
    }

    /// Whether every target has had a right round, and none that failed.
    pub fn all_right(&self) -> bool {
        let tallies = self.tallies();
        // Where each address of a name is a target, there may have been none.
        !tallies.in_order.is_empty() && tallies.in_order.iter().all(|(_, tally)| tally.all_right())
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tallies {
    fn of(&mut self, target: &Target) -> &mut Tally {
        let position = self.positions.get(target).copied().unwrap_or_else(|| {
            let position = self.in_order.len();
            self.in_order.push((target.clone(), Tally::default()));
            self.positions.insert(target.clone(), position);
            position
        });
        &mut self.in_order[position].1
    }
}

#[cfg(test)]
mod tests;
