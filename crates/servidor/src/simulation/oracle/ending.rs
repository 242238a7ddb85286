//! How connections end: for an allowed reason, and with FIN or RST as the contract says.

use rustix::io::Errno;

use super::Oracle;
use super::exchange::{MOST_AT_END, time_for};
use super::ledger::{self, Causes};
use super::model::{Model, Phase};
use super::rules::{Knowledge, Moment};
use crate::simulation::coverage::Coverage;
use crate::simulation::world::SECOND;

/// How many sockets may linger and how many connections may be stalled, in all event loops together.
const MOST_LINGERING: usize = 64;
const MOST_STALLED: usize = 128;
const LINGER: u64 = SECOND;
/// How many bytes a closed socket may leave to the kernel before the stop.
const MOST_UNDELIVERED: usize = 2 * 1024;

/// The call that ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Finish,
    Close,
    Reset,
}

/// The share of `total` for one event loop.
fn share(total: usize, loops: usize, me: usize) -> usize {
    total / loops + usize::from(me < total % loops)
}

impl Oracle {
    pub(in crate::simulation) fn shut_down(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        outcome: Result<(), Errno>,
    ) {
        self.touch(me, link);
        let phase = self.models[link].phase;
        match phase {
            Phase::Accepted | Phase::Held => self.exclude(now, me, link),
            Phase::Serving => self.ends(now, me, link, Way::Finish),
            Phase::Refused if self.models[link].pending() > 0 && !self.models[link].has_failed => {
                self.fail_at(now, link, format_args!("is refused without being told"));
            }
            Phase::Lingering if self.models[link].fin_was_sent => {
                self.fail_at(now, link, format_args!("is sent FIN twice"));
            }
            Phase::Absent | Phase::Closed => {
                self.fail_at(now, link, format_args!("is used when it is not open"));
            }
            Phase::Refused | Phase::Lingering | Phase::NotAllowed => {}
        }
        let clock = self.loops[me].clock;
        let model = &mut self.models[link];
        if phase != Phase::Lingering {
            model.phase = Phase::Lingering;
            model.finished = Moment::since(clock);
        }
        match outcome {
            Ok(()) => model.fin_was_sent = true,
            Err(Errno::INTR) => {}
            Err(_) => model.has_failed = true,
        }
    }

    pub(in crate::simulation) fn closed(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        (resets, undelivered): (bool, usize),
        coverage: &mut Coverage,
    ) {
        if self.is_over {
            return;
        }
        self.touch(me, link);
        let is_left = undelivered > MOST_UNDELIVERED && self.loops[me].stop.is_none();
        if is_left && !self.models[link].has_failed {
            self.fail_at(
                now,
                link,
                format_args!("is closed with {undelivered} bytes that the kernel must keep"),
            );
        }
        match self.models[link].phase {
            Phase::Accepted | Phase::Held => self.exclude(now, me, link),
            Phase::Serving => {
                self.ends(now, me, link, Way::Close);
                if resets && !self.models[link].has_failed {
                    self.fail_at(now, link, format_args!("is closed with bytes unread, which resets it"));
                }
            }
            Phase::Refused if !self.models[link].has_failed => {
                self.fail_at(now, link, format_args!("is refused, and closed without FIN and lingering"));
            }
            Phase::Lingering => self.lingering_ends(now, me, link, coverage),
            Phase::Absent | Phase::Closed => self.fail_at(now, link, format_args!("is closed twice")),
            Phase::Refused | Phase::NotAllowed => {}
        }
        self.models[link].phase = Phase::Closed;
        self.open.retain(|other| *other != link);
    }

    pub(in crate::simulation) fn reset(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        undelivered: usize,
        coverage: &mut Coverage,
    ) {
        self.touch(me, link);
        match self.models[link].phase {
            Phase::Accepted | Phase::Held => self.exclude(now, me, link),
            Phase::Serving => {
                if self.makes_room(me, link) {
                    coverage.count("stalled connection made room");
                }
                self.ends(now, me, link, Way::Reset);
            }
            Phase::NotAllowed => {}
            Phase::Lingering if undelivered > MOST_UNDELIVERED => {
                let patience = LINGER + time_for(undelivered);
                if now >= self.models[link].finished.earliest + patience {
                    coverage.count("lingering socket was not read from");
                } else if !self.lingers_longest(me, link) {
                    self.fail_at(now, link, format_args!("has too little time to take its replies"));
                }
            }
            _ => self.fail_at(now, link, format_args!("is reset")),
        }
        self.models[link].phase = Phase::Closed;
        self.open.retain(|other| *other != link);
    }

    /// A served connection ends.
    fn ends(&mut self, now: u64, me: usize, link: usize, way: Way) {
        let causes = self.causes(me, link, way);
        if causes == 0 {
            self.fail_at(now, link, format_args!("ends ({way:?}) for no reason that is allowed now"));
        }
        self.ledger.ended.push((link, causes));
    }

    /// Why a connection that is being served may end now, in this way.
    fn causes(&self, me: usize, link: usize, way: Way) -> Causes {
        let (model, knowledge) = (&self.models[link], &self.loops[me]);
        let mut causes = if model.has_failed { ledger::IO } else { 0 };
        if model.pending() == 0 {
            let orderly = orderly_causes(model, knowledge);
            // Lingering is not needed after the peer's FIN.
            let fits = way == Way::Finish || (way == Way::Close && model.end_was_read);
            causes |= if fits { orderly } else { 0 };
        } else if way == Way::Reset {
            let write_deadline = model.stalled_since.earliest + knowledge.least(|rules| rules.write_timeout);
            let is_slow = model.no_room_since(write_deadline) || self.makes_room(me, link);
            causes |= if is_slow { ledger::SLOW_READER } else { 0 };
            let is_forced = knowledge.stop.is_some_and(|stop| model.no_room_since(stop.forced));
            causes |= if is_forced { ledger::FORCED } else { 0 };
        }
        causes
    }

    /// Whether too many connections are stalled, and this one is the next to be closed.
    fn makes_room(&self, me: usize, link: usize) -> bool {
        let stalled = self
            .open_of(me)
            .filter(|model| model.phase == Phase::Serving && model.is_stalled && model.pending() > 0);
        let mut count = 0;
        let mut is_earliest = true;
        for other in stalled {
            count += 1;
            // Bytes taken in this turn have moved the other one's start, at least by the minimum rate.
            let has_moved = other.progress > 0;
            is_earliest &=
                has_moved || self.models[link].stalled_since.earliest <= other.stalled_since.latest;
        }
        is_earliest && count > share(MOST_STALLED, self.loops.len(), me)
    }

    fn lingering_ends(&mut self, now: u64, me: usize, link: usize, coverage: &mut Coverage) {
        let knowledge = &self.loops[me];
        let model = &self.models[link];
        if model.end_was_read || model.has_failed {
            return;
        }
        let is_over = now >= model.finished.earliest + LINGER;
        let is_forced = knowledge.stop.is_some_and(|stop| now >= stop.forced);
        let makes_room = self.lingers_longest(me, link);
        let was_read_empty = model.nothing_since(knowledge.turn_began) || model.read_in_turn >= MOST_AT_END;
        if is_over {
            coverage.count("lingering socket ran out of time");
        } else if makes_room {
            coverage.count("lingering socket made room");
        } else if !is_forced {
            self.fail_at(now, link, format_args!("lingers for too short a time"));
        }
        if !was_read_empty {
            self.fail_at(now, link, format_args!("lingered, and is not read empty before its close"));
        }
    }

    /// Whether too many sockets linger, and this one has lingered longest.
    fn lingers_longest(&self, me: usize, link: usize) -> bool {
        let lingering = self.open_of(me).filter(|other| other.phase == Phase::Lingering);
        let (count, is_oldest) = lingering.fold((0, true), |(count, is_oldest), other| {
            (count + 1, is_oldest && self.models[link].finished.earliest <= other.finished.latest)
        });
        count > share(MOST_LINGERING, self.loops.len(), me) && is_oldest
    }

    /// At the end of a turn: the limits of lingering sockets and stalled connections are kept.
    pub(super) fn check_room(&mut self, now: u64, me: usize) {
        let lingering = self.count(me, |model| model.phase == Phase::Lingering);
        let stalled = self.count(me, |model| model.phase == Phase::Serving && model.pending() > 0);
        let loops = self.loops.len();
        if lingering > share(MOST_LINGERING, loops, me) {
            self.fail(now, format_args!("loop {me} lets {lingering} sockets linger"));
        }
        if stalled > share(MOST_STALLED, loops, me) {
            self.fail(now, format_args!("loop {me} has {stalled} stalled connections"));
        }
    }
}

/// The allowed reasons to end a connection without pending replies with FIN.
fn orderly_causes(model: &Model, knowledge: &Knowledge) -> Causes {
    let wire = &model.wire;
    let mut causes = 0;
    let mut allow = |cause, holds| causes |= if holds { cause } else { 0 };
    if wire.tail_is_answered && !wire.has_seen_lf {
        return ledger::UNTERMINATED;
    }
    if wire.is_oversize {
        return ledger::OVERSIZE;
    }
    let is_complete = wire.partial.is_empty();
    allow(ledger::CLIENT, model.end_was_read && is_complete);
    let idle = model.quiet_since.earliest + knowledge.least(|rules| rules.idle_timeout);
    allow(ledger::IDLE, is_complete && !wire.tail_is_answered && model.nothing_since(idle));
    let line = model.line_began.earliest + knowledge.least(|rules| rules.line_timeout);
    allow(ledger::SLOW_LINE, !is_complete && model.nothing_since(line));
    let is_cut = model.read_while_may_end >= MOST_AT_END;
    if let Some(stop) = knowledge.stop {
        let patience = if model.has_been_answered() { stop.began } else { stop.first_request };
        allow(ledger::STOPPING, is_cut || (is_complete && model.nothing_since(patience)));
    }
    if let Some(since) = knowledge.excluded_since(model.address.ip()) {
        allow(ledger::NOT_ALLOWED, model.nothing_since(since) || is_cut);
    }
    causes
}
