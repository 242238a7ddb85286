//! Counts the events that a simulation is expected to reach.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

/// All events that must occur in a run of many seeds.
const EXPECTED: &[&str] = &[
    "names: answered",
    "names: failed",
    "names: no such name",
    "names: silent",
    "operator: cut",
    "operator: reload",
    "operator: stop",
    "report",
    "round: closed",
    "round: connect_timeout",
    "round: disturbed",
    "round: disturbed for certain",
    "round: other",
    "round: refused",
    "round: reply_timeout",
    "round: reset",
    "round: resolve",
    "round: right",
    "round: server_error",
    "round: unreachable",
    "round: wrong_reply",
    "server: busy",
    "server: closes after the reply",
    "server: closes unanswered",
    "server: closes when idle",
    "server: does not close",
    "server: half a reply",
    "server: in two pieces",
    "server: late",
    "server: nearly right",
    "server: rejects",
    "server: a second reply later",
    "server: resets",
    "server: resets after the reply",
    "server: right",
    "server: silent",
    "server: two replies",
    "server: unterminated",
    "server: wrong",
    "stall",
    "stall: busy",
    "stall: interrupted",
    "tick skipped: busy",
    "tick skipped: late",
];

impl Coverage {
    pub(super) fn count(&mut self, event: &str) {
        match self.0.get_mut(event) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(event.to_owned(), 1)),
        }
    }

    pub(super) fn count_round(&mut self, result: &str, is_disturbed_for_certain: bool) {
        self.count(&format!("round: {result}"));
        if is_disturbed_for_certain {
            self.count("round: disturbed for certain");
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (event, count) in &other.0 {
            *self.0.entry(event.clone()).or_default() += count;
        }
    }

    /// All events, with their counts.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(event, count)| (event.as_str(), *count))
    }

    /// How often an event occurred.
    pub fn of(&self, event: &str) -> u64 {
        self.0.get(event).copied().unwrap_or_default()
    }

    /// What should have occurred and never did.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        EXPECTED.iter().filter(|event| self.of(event) == 0).copied()
    }
}
