//! What is counted: each request, refusal and end once, with the right label.

use protocol::{Class, Rejection};

use super::Oracle;
use super::model::Phase;
use crate::event_loop::Census;
use crate::metrics::{CloseReason, Refusal};
use crate::simulation::coverage::Coverage;

/// A set of reasons to end a connection.
pub(super) type Causes = u16;

pub(super) const CLIENT: Causes = 1;
pub(super) const UNTERMINATED: Causes = 1 << 1;
pub(super) const IDLE: Causes = 1 << 2;
pub(super) const SLOW_LINE: Causes = 1 << 3;
pub(super) const SLOW_READER: Causes = 1 << 4;
pub(super) const OVERSIZE: Causes = 1 << 5;
pub(super) const IO: Causes = 1 << 6;
pub(super) const NOT_ALLOWED: Causes = 1 << 7;
pub(super) const STOPPING: Causes = 1 << 8;
pub(super) const FORCED: Causes = 1 << 9;

/// In the order of their bits.
const REASONS: [(CloseReason, &str); 11] = [
    (CloseReason::Client, "closed: client"),
    (CloseReason::Unterminated, "closed: unterminated"),
    (CloseReason::Idle, "closed: idle"),
    (CloseReason::SlowLine, "closed: slow_line"),
    (CloseReason::SlowReader, "closed: slow_reader"),
    (CloseReason::Oversize, "closed: oversize"),
    (CloseReason::Io, "closed: io"),
    (CloseReason::NotAllowed, "closed: not_allowed"),
    (CloseReason::Stopping, "closed: stopping"),
    (CloseReason::Forced, "closed: forced"),
    (CloseReason::Panic, "closed: panic"),
];

/// How many bytes a stalled connection may hold: the replies of a batch, and what was read.
const MOST_HELD: usize = 64 * 1024 + 128 + 16 * 1024 + 64;

/// The expected values of the metrics.
#[derive(Default)]
pub(super) struct Ledger {
    /// By [`Counted`](super::wire::Counted).
    pub(super) requests: [u64; 6],
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) not_allowed: u64,
    pub(super) accept_errors: u64,
    /// Errors of listeners that were shut down. They may be counted or not.
    pub(super) fatal_accept_errors: u64,
    /// Connections that have ended since the last check, with their possible reasons.
    pub(super) ended: Vec<(usize, Causes)>,
    /// The metrics at the last check.
    closed: [u64; 11],
}

impl Oracle {
    /// Compares the metrics with what has happened. No turn is running.
    pub(in crate::simulation) fn check_metrics(&mut self, now: u64, coverage: &mut Coverage) {
        let metrics = &self.context.metrics;
        let [empty, invalid, too_long] = [Rejection::Empty, Rejection::Invalid, Rejection::TooLong];
        let errors = metrics.accept_errors();
        let Ledger { requests, served, refused, not_allowed, accept_errors, fatal_accept_errors, .. } =
            &self.ledger;
        let open = self.open.iter().map(|link| &self.models[*link]);
        let active = open.filter(|model| model.phase == Phase::Serving).count() as u64;
        let counts = [
            ("connections", metrics.connections(), *served),
            ("large numbers", metrics.numbers(Class::Large), requests[0]),
            ("even numbers", metrics.numbers(Class::Even), requests[1]),
            ("odd numbers", metrics.numbers(Class::Odd), requests[2]),
            ("empty requests", metrics.rejected_for(empty), requests[3]),
            ("invalid requests", metrics.rejected_for(invalid), requests[4]),
            ("too long requests", metrics.rejected_for(too_long), requests[5]),
            ("refused for overload", metrics.refused(Refusal::Overload), *refused),
            ("refused as not allowed", metrics.refused(Refusal::NotAllowed), *not_allowed),
            ("accept errors", errors.clamp(*accept_errors, accept_errors + fatal_accept_errors), errors),
            ("active connections", self.context.limit.active() as u64, active),
        ];
        for (name, counted, happened) in counts {
            if counted != happened {
                self.fail(now, format_args!("the metrics count {counted} {name}, and there were {happened}"));
            }
        }
        self.check_reasons(now, coverage);
    }

    /// Adds the counts to the coverage.
    pub(in crate::simulation) fn cover(&self, coverage: &mut Coverage) {
        coverage.count_times("refused: overload", self.ledger.refused);
        coverage.count_times("refused: not_allowed", self.ledger.not_allowed);
        self.admission.held.iter().for_each(|(name, times)| coverage.count_times(name, *times));
    }

    /// Compares the census of an event loop with what has happened.
    pub(in crate::simulation) fn check_census(&mut self, now: u64, me: usize, census: Census) {
        let connections = self.count(me, |model| model.phase == Phase::Serving && model.interest.is_some());
        let lingering = self.count(me, |model| model.phase == Phase::Lingering);
        let stalled = self.count(me, |model| model.phase == Phase::Serving && model.pending() > 0);
        let most = stalled * MOST_HELD;
        let is_right =
            (census.connections, census.lingering, census.stalled) == (connections, lingering, stalled);
        if !is_right || census.held_bytes > most {
            self.fail(
                now,
                format_args!(
                    "loop {me} says {census:?}, and there are {connections} connections, {lingering} lingering, \
                     {stalled} stalled, which may hold {most} bytes"
                ),
            );
        }
    }

    /// Assigns a counted reason to each end, so that all are used up.
    fn check_reasons(&mut self, now: u64, coverage: &mut Coverage) {
        let closed = REASONS.map(|(reason, _)| self.context.metrics.closed(reason));
        let mut counted = [0; 11];
        for (index, (_, name)) in REASONS.iter().enumerate() {
            counted[index] = closed[index] - self.ledger.closed[index];
            for _ in 0..counted[index].min(if *name == "closed: panic" { 0 } else { u64::MAX }) {
                coverage.count(name);
            }
        }
        self.ledger.closed = closed;
        let mut ended = std::mem::take(&mut self.ledger.ended);
        let total: u64 = counted.iter().sum();
        if total != ended.len() as u64 {
            let links: Vec<usize> = ended.iter().map(|(link, _)| *link).collect();
            return self.fail(now, format_args!("{total} ends were counted, and {links:?} have ended"));
        }
        // Those with only one possible reason come first.
        ended.sort_by_key(|(_, causes)| causes.count_ones());
        let mut given: Vec<(usize, Causes, usize)> = Vec::new();
        for (link, causes) in ended {
            if !assign(&mut counted, &mut given, link, causes, 0) {
                let reasons: Vec<&str> = names(causes).collect();
                let left = REASONS.iter().zip(counted).filter(|(_, count)| *count > 0);
                let left: Vec<&str> = left.map(|((_, name), _)| *name).collect();
                return self.fail_at(
                    now,
                    link,
                    format_args!("may have ended for {reasons:?}, and was counted as one of {left:?}"),
                );
            }
        }
    }
}

/// Assigns one of its causes to `link`. If all of them are used up, another connection has to change its cause.
fn assign(
    counted: &mut [u64; 11],
    given: &mut Vec<(usize, Causes, usize)>,
    link: usize,
    causes: Causes,
    tried: Causes,
) -> bool {
    let bits = (0..11).filter(|bit| causes & !tried & (1 << bit) != 0);
    for bit in bits.clone() {
        if counted[bit] > 0 {
            counted[bit] -= 1;
            given.push((link, causes, bit));
            return true;
        }
    }
    for bit in bits {
        let holders: Vec<_> = given.iter().copied().filter(|(_, _, used)| *used == bit).collect();
        for holder in holders {
            given.retain(|each| *each != holder);
            if assign(counted, given, holder.0, holder.1, tried | 1 << bit) {
                given.push((link, causes, bit));
                return true;
            }
            given.push(holder);
        }
    }
    false
}

fn names(causes: Causes) -> impl Iterator<Item = &'static str> {
    REASONS.iter().enumerate().filter(move |(bit, _)| causes & (1 << bit) != 0).map(|(_, (_, name))| *name)
}
