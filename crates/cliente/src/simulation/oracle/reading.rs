//! What the client has counted of one target, or of all.

use std::collections::BTreeMap;

/// Counts of rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) rounds: u64,
    pub(crate) right: u64,
    pub(crate) disturbed: u64,
    pub(crate) skipped: u64,
    pub(crate) connections: u64,
    /// By reason; those that never occurred may be left out.
    pub(crate) failures: BTreeMap<&'static str, u64>,
}

impl Reading {
    pub(super) fn ended(&self) -> u64 {
        self.right + self.disturbed + self.failed()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Counts one more round with this result.
    pub(super) fn count(&mut self, result: &'static str) {
        match result {
            "right" => self.right += 1,
            "disturbed" => self.disturbed += 1,
            reason => *self.failures.entry(reason).or_default() += 1,
        }
    }

    /// The result of the round by which this is more than `before`; several results, if there are several.
    pub(super) fn more_than(&self, before: &Self) -> Vec<&'static str> {
        let mut more = Vec::new();
        let mut add = |result, now: u64, before: u64| {
            more.extend(std::iter::repeat_n(
                result,
                usize::try_from(now.saturating_sub(before)).unwrap_or(0),
            ));
        };
        add("right", self.right, before.right);
        add("disturbed", self.disturbed, before.disturbed);
        for (reason, count) in &self.failures {
            add(reason, *count, before.failures.get(reason).copied().unwrap_or(0));
        }
        more
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.right += other.right;
        self.disturbed += other.disturbed;
        self.skipped += other.skipped;
        self.connections += other.connections;
        for (reason, count) in &other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}
