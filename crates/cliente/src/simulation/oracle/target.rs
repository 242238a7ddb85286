//! One target as the contract has it: when its rounds begin and end, and what is counted.

use super::super::coverage::Coverage;
use super::facts::Facts;
use super::reading::Reading;
use super::stalls::{Disturbed, Stalls};
use super::ticks::Ticks;
use super::verdict::{Case, Ending, Verdict};
use super::{Options, Round, Rules};

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) text: String,
    pub(super) is_name: bool,
    pub(super) facts: Facts,
    pub(super) round: Option<Round>,
    ticks: Option<Ticks>,
    /// The tick of the last round.
    last: Option<i128>,
    /// Whether it is probed.
    pub(super) is_probed: bool,
    /// How many rounds are left, if they are limited.
    left: Option<u64>,
    /// What must have been counted.
    pub(super) counted: Reading,
    /// The sum of the round trips.
    pub(super) round_trips: u64,
    /// The settings of the last round.
    options: Option<Options>,
}

/// What one look depends on.
pub(super) struct Look<'l> {
    pub(super) now: u64,
    pub(super) epoch: i128,
    pub(super) stalls: &'l Stalls,
    pub(super) rules: &'l Rules,
    pub(super) is_stopped: bool,
    pub(super) reading: &'l Reading,
    pub(super) addresses: &'l std::sync::Arc<[std::net::IpAddr]>,
}

type Checked = Result<(), String>;

impl Watched {
    pub(super) fn new(text: String, is_name: bool, left: Option<u64>) -> Self {
        Self {
            text,
            is_name,
            facts: Facts::default(),
            round: None,
            ticks: None,
            last: None,
            is_probed: false,
            left,
            counted: Reading::default(),
            round_trips: 0,
            options: None,
        }
    }

    /// Compares what was counted until now with the contract.
    pub(super) fn look(&mut self, look: &Look<'_>, is_wanted: bool, coverage: &mut Coverage) -> Checked {
        let mut results = look.reading.more_than(&self.counted);
        let begins = look.reading.rounds - self.counted.rounds.min(look.reading.rounds);
        if begins > 1 {
            return Err(format!("{begins} rounds began at once"));
        }
        self.check_round(look, &mut results, begins > 0, coverage)?;
        self.follow(look, is_wanted);
        if begins > 0 {
            self.begin(look, coverage)?;
            self.check_round(look, &mut results, false, coverage)?;
            self.follow(look, is_wanted);
        }
        self.check_due(look)?;
        if self.round.is_none() {
            self.facts.forget_closed(look.now);
        }
        if !results.is_empty() {
            return Err(format!("rounds ended that had not begun: {results:?}"));
        }
        if self.counted != *look.reading {
            return Err(format!("expected {:?}, counted {:?}", self.counted, look.reading));
        }
        Ok(())
    }

    /// Whether the round under way goes on or has ended as it must.
    fn check_round(
        &mut self,
        look: &Look<'_>,
        results: &mut Vec<&'static str>,
        is_followed: bool,
        coverage: &mut Coverage,
    ) -> Checked {
        let Some(round) = &self.round else { return Ok(()) };
        let now = look.now;
        let case =
            Case { round, facts: &self.facts, stalls: look.stalls, is_name: self.is_name, now, is_followed };
        let (ending, is_over) = match case.verdict() {
            Verdict::Broken(problem) => return Err(problem),
            Verdict::UnderWay | Verdict::MayEnd(_) if results.is_empty() => return Ok(()),
            Verdict::UnderWay => return Err(format!("the round ended too early: {results:?}")),
            Verdict::MayEnd(ending) => (ending, false),
            Verdict::Ends(ending) => (ending, true),
        };
        if results.is_empty() {
            return if is_over { Err(format!("the round should end now: {ending:?}")) } else { Ok(()) };
        }
        self.end(look, &ending, results.remove(0), coverage)
    }

    fn end(
        &mut self,
        look: &Look<'_>,
        ending: &Ending,
        result: &'static str,
        coverage: &mut Coverage,
    ) -> Checked {
        let may_be = |disturbed: &[Disturbed]| disturbed.contains(&ending.disturbed);
        let is_right = match result {
            "disturbed" => may_be(&[Disturbed::Perhaps, Disturbed::Yes]),
            other => other == ending.result && may_be(&[Disturbed::No, Disturbed::Perhaps]),
        };
        if !is_right {
            return Err(format!("the round ended as {result:?}: {ending:?}"));
        }
        coverage.count_round(result, ending.disturbed == Disturbed::Yes);
        self.counted.count(result);
        if result != "disturbed" {
            self.counted.connections += u64::from(ending.connect.is_some());
        }
        if result == "right" {
            self.round_trips += ending.round_trip.unwrap_or_default();
        }
        self.facts.end(look.now, ending.result != "right");
        self.round = None;
        let skipped = self.ticks.as_mut().map_or(0, |ticks| ticks.end(look.now));
        if skipped > 0 {
            coverage.count("tick skipped: busy");
        }
        self.counted.skipped += skipped;
        Ok(())
    }

    /// Follows the settings, as a probe does between rounds.
    fn follow(&mut self, look: &Look<'_>, is_wanted: bool) {
        let is_limited = self.left == Some(0);
        let ends = !is_wanted || look.is_stopped || is_limited;
        let interval = look.rules.interval;
        if self.round.is_some() {
            return;
        }
        if ends {
            self.is_probed = false;
            self.ticks = None;
            return;
        }
        if !self.is_probed {
            self.options = None;
            self.facts.must_ask = true;
        }
        self.is_probed = true;
        if self.ticks.is_none_or(|ticks| ticks.interval != interval) {
            self.ticks = Some(Ticks::from(look.epoch, &self.text, interval, look.now));
        }
    }

    fn begin(&mut self, look: &Look<'_>, coverage: &mut Coverage) -> Checked {
        if self.round.is_some() {
            return Err("a round began while the last one ran".to_owned());
        }
        let Some(ticks) = self.ticks.as_mut().filter(|_| self.is_probed) else {
            return Err("a round began of a target that is not probed".to_owned());
        };
        let due = u64::try_from(ticks.due).map_or(0, |due| look.stalls.timer(due));
        if look.now < due {
            return Err(format!("a round began before it was due at {due}"));
        }
        let (tick, skipped) = ticks.begin(look.now);
        if self.last.is_some_and(|last| tick <= last) {
            return Err(format!("the tick of {tick} was made before"));
        }
        self.last = Some(tick);
        if skipped > 0 {
            coverage.count("tick skipped: late");
        }
        self.counted.rounds += 1;
        self.counted.skipped += skipped;
        self.left = self.left.map(|left| left - 1);
        let options = look.rules.options;
        let was_same = self.options.is_some_and(|last| last.is_same_connection(&options));
        self.round =
            Some(self.facts.begin(look, options, was_same, self.options == Some(options), self.is_name));
        self.options = Some(options);
        Ok(())
    }

    /// Whether a round should have begun.
    fn check_due(&self, look: &Look<'_>) -> Checked {
        let Some(ticks) = self.ticks.filter(|_| self.is_probed && self.round.is_none()) else {
            return Ok(());
        };
        let due = u64::try_from(ticks.due).map_or(0, |due| look.stalls.timer(due));
        if look.now > due { Err(format!("no round began at {due}")) } else { Ok(()) }
    }
}

impl Facts {
    /// A round begins.
    fn begin(
        &self,
        look: &Look<'_>,
        options: Options,
        was_same: bool,
        is_unchanged: bool,
        is_name: bool,
    ) -> Round {
        let begun = look.now;
        let kept = self
            .connections
            .iter()
            .find(|connection| connection.begun < begun && connection.closed.is_none_or(|at| at == begun));
        let is_open = kept.is_some_and(|kept| kept.arrived.is_empty());
        let has_surplus = kept.is_some_and(|kept| !kept.arrived.is_empty());
        Round {
            begun,
            options,
            addresses: std::sync::Arc::clone(look.addresses),
            may_reuse: kept.is_some() && was_same && options.keep && (is_open || has_surplus),
            must_reuse: is_open && is_unchanged && options.keep && !is_name && !self.must_ask,
        }
    }
}
