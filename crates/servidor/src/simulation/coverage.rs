//! Counts the events that a simulation is expected to reach.

use std::collections::BTreeMap;

/// Counts by name. Every name is there from the start, so that events that never occurred are visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// All events that must occur in a run of many seeds, in groups.
pub(super) const EXPECTED: &[(&str, &[&str])] = &[
    ("peer", PEERS),
    ("fault", FAULTS),
    ("accept error", ACCEPT_ERRORS),
    ("control", CONTROLS),
    ("held", HELD),
    ("closed", CLOSE_REASONS),
    ("refused", &["refused: overload", "refused: not_allowed"]),
    ("end", ENDS),
];

const PEERS: &[&str] = &[
    "peer: original",
    "peer: terminated",
    "peer: pipelining",
    "peer: splitting",
    "peer: trickling",
    "peer: silent",
    "peer: half a line",
    "peer: not reading",
    "peer: reading slowly",
    "peer: half-closing",
    "peer: resetting",
    "peer: closing early",
    "peer: flooding",
    "peer: over-long line",
    "peer: never closing",
    "peer: gone before accepted",
    "peer: stranger",
];

const FAULTS: &[&str] = &[
    "EINTR: receive",
    "EINTR: send",
    "EINTR: accept",
    "EINTR: shutdown",
    "EINTR: wait",
    "short read",
    "short write",
    "spurious readiness",
    "readiness left out",
    "send buffer full",
    "receive queue full",
    "watch failed",
    "watch not changed",
    "listener watch failed",
    "listener queue full",
    "stall: below 1 s",
    "stall: below 1 min",
    "stall: up to 1 h",
    "thread suspended",
    "thread preempted",
];

const ACCEPT_ERRORS: &[&str] = &[
    "accept: ECONNABORTED",
    "accept: EPROTO",
    "accept: ENOPROTOOPT",
    "accept: EHOSTDOWN",
    "accept: ENONET",
    "accept: EHOSTUNREACH",
    "accept: EOPNOTSUPP",
    "accept: ENETUNREACH",
    "accept: ENETDOWN",
    "accept: ETIMEDOUT",
    "accept: ECONNRESET",
    "accept: EPERM",
    "accept: EACCES",
    "accept: EMFILE",
    "accept: ENFILE",
    "accept: ENOBUFS",
    "accept: ENOMEM",
    "accept: EINVAL",
    "accept: EAGAIN",
];

const CONTROLS: &[&str] = &[
    "reload",
    "reload: timeouts",
    "reload: allow",
    "reload: max-connections",
    "reload: overload",
    "stop",
    "stop: beyond the limit",
    "stop: out of descriptors",
    "stop: inherited queue kept",
];

const HELD: &[&str] = &[
    "held: as many as may be",
    "held: served",
    "held: served at the stop",
    "held: no longer allowed",
    "held: refused",
];

pub(super) const CLOSE_REASONS: &[&str] = &[
    "closed: client",
    "closed: unterminated",
    "closed: idle",
    "closed: slow_line",
    "closed: slow_reader",
    "closed: oversize",
    "closed: io",
    "closed: not_allowed",
    "closed: stopping",
    "closed: forced",
];

const ENDS: &[&str] = &[
    "end: stopped",
    "end: failed",
    "stalled connection made room",
    "lingering socket made room",
    "lingering socket was not read from",
    "lingering socket ran out of time",
    "reset met a reply",
];

impl Default for Coverage {
    fn default() -> Self {
        let names = EXPECTED.iter().flat_map(|(_, names)| *names);
        Self(names.map(|name| (*name, 0)).collect())
    }
}

impl Coverage {
    /// Counts one occurrence of `name`, which must be expected.
    pub(super) fn count(&mut self, name: &'static str) {
        self.count_times(name, 1);
    }

    pub(super) fn count_times(&mut self, name: &'static str, times: u64) {
        *self.0.get_mut(name).unwrap_or_else(|| panic!("`{name}` is not expected")) += times;
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// The events that have not occurred.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name)
    }

    /// Group, name and count of everything, in a fixed order.
    pub fn groups(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        EXPECTED.iter().flat_map(|(group, names)| names.iter().map(|name| (*group, *name, self.0[name])))
    }
}
