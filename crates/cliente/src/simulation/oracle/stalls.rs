//! When the client ran, and which phases of its rounds a stall disturbed, as README says.

use super::super::world::{MICROSECOND, MILLISECOND};

/// A look at the clock comes at most so long before a stall, and that time may count as a part of it.
const LOOKS_APART: u64 = 500 * MICROSECOND;
const LOOKS_APART_AT_MOST: u64 = 100 * MILLISECOND;
/// In a phase of some age, looks are a quarter of it apart.
const QUARTER: u64 = 4;
/// A wake-up takes this time without a stall.
const WAKE_UP: u64 = 250 * MICROSECOND;

/// A time in which the client's thread did not come to its work.
#[derive(Clone, Copy, Debug)]
struct Stall {
    from: u64,
    to: u64,
    is_busy: bool,
}

/// The stalls so far; long past ones are forgotten.
#[derive(Debug, Default)]
pub(super) struct Stalls(Vec<Stall>);

/// A part of a round that has a deadline of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) limit: u64,
}

/// Whether the contract says that a round is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Disturbed {
    No,
    /// What is measured of the stall may or may not be enough.
    Perhaps,
    Yes,
}

impl Stalls {
    pub(super) fn add(&mut self, from: u64, to: u64, is_busy: bool) {
        self.0.push(Stall { from, to, is_busy });
    }

    pub(super) fn forget_before(&mut self, time: u64) {
        self.0.retain(|stall| stall.to >= time);
    }

    /// When the client can act on what happens at `time`.
    pub(super) fn seen(&self, time: u64) -> u64 {
        self.0.iter().find(|stall| stall.from < time && time <= stall.to).map_or(time, |stall| stall.to)
    }

    /// When a timer of the client that is set to `time` is acted on: its runtime counts in whole milliseconds.
    pub(super) fn timer(&self, time: u64) -> u64 {
        self.seen(time.next_multiple_of(MILLISECOND))
    }

    /// Whether stalls disturbed the phase.
    pub(super) fn disturbed(&self, phase: Phase, threshold: u64) -> Disturbed {
        let Phase { from, to, limit } = phase;
        let inside: Vec<Stall> =
            self.0.iter().filter(|stall| from <= stall.from && stall.to <= to).copied().collect();
        let gap = |stall: &Stall| ((stall.from - from) / QUARTER).clamp(LOOKS_APART, LOOKS_APART_AT_MOST);
        let length = |stall: &Stall| if stall.is_busy { 0 } else { stall.to - stall.from };
        let deadline = from + limit;
        let most: u64 = inside.iter().map(|stall| length(stall) + gap(stall)).sum();
        let may_hide_deadline =
            |stall: &Stall| stall.from.saturating_sub(gap(stall)) <= deadline && deadline <= stall.to;
        if inside.is_empty()
            || most < threshold
            || (most * 2 < to - from && !inside.iter().any(may_hide_deadline))
        {
            return Disturbed::No;
        }
        let is_last = |stall: &Stall| inside.last().is_some_and(|last| last.to == stall.to);
        let is_certain = |stall: &Stall| {
            let hides_deadline = is_last(stall) && stall.from <= deadline && deadline <= stall.to;
            let is_noticed = length(stall) > gap(stall) + WAKE_UP;
            is_noticed && length(stall) >= threshold && (length(stall) * 2 >= to - from || hides_deadline)
        };
        if inside.iter().any(is_certain) { Disturbed::Yes } else { Disturbed::Perhaps }
    }
}
