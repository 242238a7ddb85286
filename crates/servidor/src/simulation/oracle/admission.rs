//! What is accepted: within the limit, in the order of the queue, and with the pauses after errors.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rustix::io::Errno;

use super::Oracle;
use super::model::Phase;
use super::rules::{Knowledge, Moment};
use super::wire::busy;
use crate::simulation::coverage::Coverage;
use crate::simulation::faults::{OF_ONE_CONNECTION, OF_THE_HOST};
use crate::simulation::world::MILLISECOND;

const PAUSE: u64 = 100 * MILLISECOND;
/// At a stop, there is little time.
const PAUSE_AT_STOP: u64 = 10 * MILLISECOND;
/// Errors of one connection in a row.
const MOST_IN_A_ROW: u32 = 4;
/// How many connections are accepted from one listener after the stop began.
pub(super) const MOST_AT_STOP: usize = 1025;
/// How many connections are held while all permits are taken.
pub(super) const MOST_HELD: usize = 16;

/// What is known of the listeners.
pub(super) struct Admission {
    pub(super) listeners: Vec<Accepting>,
    /// Accepted connections of which the calls do not show that they are served or closed, in the order of their arrival.
    waiting: Vec<usize>,
    /// What became of held connections, for the coverage.
    pub(super) held: BTreeMap<&'static str, u64>,
    /// A listener was shut down from outside: the event loop must fail.
    pub(super) failed: Option<usize>,
}

/// One listener.
#[derive(Clone)]
pub(super) struct Accepting {
    /// The accepting loop.
    owner: usize,
    /// Nothing is accepted until then.
    pub(super) paused_until: Moment,
    /// Errors of one connection since the last success.
    in_a_row: u32,
    pub(super) accepted_at_stop: usize,
    /// Whether a connection was accepted by an event loop that had been told of the stop.
    accepted_after_told: bool,
    /// The last result of accept, and its time.
    pub(super) last: Option<(u64, Result<(), Errno>)>,
    pub(super) is_closed: bool,
}

impl Admission {
    pub(super) fn new(listeners: usize) -> Self {
        let accepting = Accepting {
            owner: 0,
            paused_until: Moment { earliest: 0, latest: 0 },
            in_a_row: 0,
            accepted_at_stop: 0,
            accepted_after_told: false,
            last: None,
            is_closed: false,
        };
        let listeners = vec![accepting; listeners];
        Self { listeners, waiting: Vec::new(), held: BTreeMap::new(), failed: None }
    }

    pub(super) fn turn_ends(&mut self, now: u64, me: usize) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.owner == me) {
            listener.paused_until.turn_ends(now + PAUSE);
        }
    }
}

impl Oracle {
    /// Any call of accept.
    fn accepts(&mut self, now: u64, me: usize, listener: usize, outcome: Result<(), Errno>) {
        let accepting = &mut self.admission.listeners[listener];
        accepting.owner = me;
        accepting.last = Some((now, outcome));
        let is_over = self.loops[me].stop.is_some_and(|stop| now >= stop.forced);
        if now < accepting.paused_until.earliest && !is_over {
            self.fail(now, format_args!("accepts from listener {listener} in its pause"));
        }
    }

    pub(in crate::simulation) fn accepted(
        &mut self,
        now: u64,
        me: usize,
        listener: usize,
        link: usize,
        address: SocketAddr,
        coverage: &mut Coverage,
    ) {
        self.accepts(now, me, listener, Ok(()));
        self.touch(me, link);
        let knowledge = &self.loops[me];
        let accepting = &mut self.admission.listeners[listener];
        accepting.in_a_row = 0;
        if knowledge.stop.is_some() {
            accepting.accepted_at_stop += 1;
            accepting.accepted_after_told |= knowledge.was_told_to_stop();
        }
        let active = self.context.limit.active();
        if knowledge.stop.is_some() && active >= knowledge.newest().max_connections {
            coverage.count("stop: beyond the limit");
        }
        let clock = knowledge.clock;
        let held = self.admission.waiting.len() - self.begun();
        self.admission.waiting.push(link);
        self.open.push(link);
        let model = &mut self.models[link];
        (model.phase, model.active_before) = (Phase::Accepted, active);
        (model.quiet_since, model.silent_since) = (Moment::since(clock), clock);
        let waits = knowledge.possible().all(|rules| !rules.refuses);
        let most = knowledge.possible().map(|rules| rules.max_connections).max().unwrap_or(0);
        let may_hold = held < MOST_HELD && knowledge.possible().any(|rules| !rules.allows_all);
        if waits && knowledge.stop.is_none() && active >= most && !may_hold {
            self.fail(
                now,
                format_args!("accepts {address} while {active} of {most} are served, and {held} held"),
            );
        }
    }

    /// How many connections have a permit, by the metrics, of which the calls do not show it.
    fn begun(&self) -> usize {
        let begun = self.context.metrics.connections().saturating_sub(self.ledger.served);
        self.admission.waiting.len().min(usize::try_from(begun).expect("there are few peers"))
    }

    /// At the end of a turn of the accepting loop: the connections that came first have the permits, the others are held.
    pub(super) fn decide(&mut self, now: u64, me: usize) {
        if me != 0 {
            return;
        }
        while self.begun() > 0 {
            let link = self.admission.waiting[0];
            self.touch(me, link);
            self.serve(now, me, link);
        }
        for link in &self.admission.waiting {
            self.models[*link].phase = Phase::Held;
        }
        if self.admission.waiting.len() == MOST_HELD {
            self.count_held("held: as many as may be");
        }
    }

    fn count_held(&mut self, name: &'static str) {
        *self.admission.held.entry(name).or_default() += 1;
    }

    /// A connection no longer waits. Returns whether it was held.
    fn leaves(&mut self, link: usize) -> bool {
        self.admission.waiting.retain(|waiting| *waiting != link);
        self.models[link].phase == Phase::Held
    }

    pub(in crate::simulation) fn accept_failed(
        &mut self,
        now: u64,
        me: usize,
        listener: usize,
        errno: Errno,
        coverage: &mut Coverage,
    ) {
        self.accepts(now, me, listener, Err(errno));
        let is_stopping = self.loops[me].stop.is_some();
        if is_stopping && errno == Errno::MFILE {
            coverage.count("stop: out of descriptors");
        }
        let Knowledge { clock, turn_began, .. } = self.loops[me];
        let pauses_at = Moment::since(if is_stopping { turn_began + PAUSE_AT_STOP } else { clock + PAUSE });
        let accepting = &mut self.admission.listeners[listener];
        match errno {
            Errno::INTR => {}
            Errno::AGAIN => accepting.in_a_row = 0,
            errno if OF_ONE_CONNECTION.contains(&errno) => {
                self.ledger.accept_errors += 1;
                accepting.in_a_row += 1;
                if accepting.in_a_row >= MOST_IN_A_ROW {
                    accepting.in_a_row = 0;
                    accepting.paused_until = pauses_at;
                }
            }
            errno if errno == Errno::MFILE || OF_THE_HOST.contains(&errno) => {
                self.ledger.accept_errors += 1;
                accepting.paused_until = pauses_at;
            }
            _ => {
                self.ledger.fatal_accept_errors += 1;
                self.admission.failed = Some(me);
            }
        }
    }

    /// A listener is watched, unless that fails. A failure begins a pause.
    pub(in crate::simulation) fn watching_listener(
        &mut self,
        now: u64,
        me: usize,
        listener: usize,
        fails: bool,
    ) {
        let clock = self.loops[me].clock;
        let accepting = &mut self.admission.listeners[listener];
        accepting.owner = me;
        let is_paused = now < accepting.paused_until.earliest;
        if fails {
            accepting.paused_until = Moment::since(clock + PAUSE);
            self.ledger.accept_errors += 1;
        }
        if is_paused {
            self.fail(now, format_args!("watches listener {listener} in its pause"));
        }
    }

    /// The calls show that a connection is served.
    pub(super) fn serve(&mut self, now: u64, me: usize, link: usize) {
        let place = self.admission.waiting.iter().position(|waiting| *waiting == link);
        if place.is_some_and(|place| place >= self.begun()) {
            self.fail_at(now, link, format_args!("is served before others that came earlier"));
        }
        if self.leaves(link) {
            let Knowledge { turn_began: earliest, stop, .. } = self.loops[0];
            let model = &mut self.models[link];
            (model.quiet_since, model.silent_since) = (Moment::since(earliest), earliest);
            self.count_held(if stop.is_some() { "held: served at the stop" } else { "held: served" });
        }
        self.models[link].phase = Phase::Serving;
        self.ledger.served += 1;
        let knowledge = &self.loops[0];
        let address = self.models[link].address;
        if knowledge.possible().all(|rules| !rules.allows(address.ip())) {
            self.fail_at(now, link, format_args!("is served by loop {me} although {address} is not allowed"));
        }
        let most = self.loops[0].possible().map(|rules| rules.max_connections).max().unwrap_or(0);
        // Others may have ended since it was accepted.
        let active = self.models[link].active_before.min(self.context.limit.active().saturating_sub(1));
        if self.loops[0].stop.is_none() && active >= most {
            self.fail_at(
                now,
                link,
                format_args!("is served beside {active} others, and the limit is {most}"),
            );
        }
    }

    /// The calls show that a connection is refused for overload.
    pub(super) fn refuse(&mut self, now: u64, me: usize, link: usize) {
        if self.leaves(link) {
            self.count_held("held: refused");
        }
        self.models[link].phase = Phase::Refused;
        self.models[link].wire.refuse();
        self.ledger.refused += 1;
        debug_assert_eq!(self.models[link].wire.replies, busy());
        let knowledge = &self.loops[me];
        let address = self.models[link].address;
        let active = self.models[link].active_before.max(self.context.limit.active());
        let is_right = knowledge
            .possible()
            .any(|rules| rules.refuses && active >= rules.max_connections && rules.allows(address.ip()));
        if !is_right {
            self.fail_at(now, link, format_args!("is refused while {active} are served"));
        }
    }

    /// The calls show that a connection is closed at once.
    pub(super) fn exclude(&mut self, now: u64, me: usize, link: usize) {
        if self.leaves(link) {
            self.count_held("held: no longer allowed");
        }
        self.models[link].phase = Phase::NotAllowed;
        self.ledger.not_allowed += 1;
        let address = self.models[link].address;
        if self.loops[me].excluded_since(address.ip()).is_none() {
            self.fail_at(now, link, format_args!("is closed at once although {address} is allowed"));
        }
    }

    pub(in crate::simulation) fn listener_closed(
        &mut self,
        now: u64,
        listener: usize,
        waiting: usize,
        inherited: bool,
        coverage: &mut Coverage,
    ) {
        self.admission.listeners[listener].is_closed = true;
        let accepting = self.admission.listeners[listener].clone();
        if self.admission.failed == Some(accepting.owner) {
            return;
        }
        if inherited && waiting > 0 {
            coverage.count("stop: inherited queue kept");
        }
        let Some(stop) = self.loops[accepting.owner].stop else {
            return self.fail(now, format_args!("listener {listener} is closed without a stop"));
        };
        let turn_began = self.loops[accepting.owner].turn_began;
        let is_settled = accepting.last.is_some_and(|(at, outcome)| match outcome {
            Err(Errno::AGAIN) => at >= turn_began,
            Err(Errno::INVAL) => true,
            _ => false,
        });
        let is_done = now >= stop.forced || accepting.accepted_at_stop >= MOST_AT_STOP || is_settled;
        if !inherited && waiting > 0 && !is_done {
            self.fail(
                now,
                format_args!("listener {listener} is closed, which resets {waiting} in its queue"),
            );
        }
        if inherited && accepting.accepted_after_told {
            self.fail(now, format_args!("the queue of the inherited listener {listener} is not left alone"));
        }
    }
}
