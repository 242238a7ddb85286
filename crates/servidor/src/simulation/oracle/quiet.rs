//! What must be done before every event loop waits with nothing ready.

use super::Oracle;
use super::admission::{MOST_AT_STOP, MOST_HELD};
use super::exchange::time_for;
use super::model::{Model, Phase};
use super::rules::{Knowledge, SLACK, Stop};
use crate::simulation::trace::Time;
use crate::simulation::world::{Listener, SECOND};

/// The largest send buffer in the simulation.
const MOST_QUEUED: usize = 64 * 1024;

impl Oracle {
    /// Every event loop waits: nothing is ready, and no deadline has passed.
    pub(in crate::simulation) fn check_quiet(
        &mut self,
        now: u64,
        listeners: &[Listener],
        descriptors: usize,
    ) {
        for link in self.open.clone() {
            let model = &self.models[link];
            let knowledge = &self.loops[model.owner];
            let overdue = match model.phase {
                Phase::Serving => serving_ends(model, knowledge),
                // Undelivered bytes get the time that they take at the minimum rate.
                Phase::Lingering => model.finished.latest + SECOND + time_for(MOST_QUEUED.min(model.sent)),
                Phase::Held => self.held_until(model),
                Phase::Accepted | Phase::Refused | Phase::NotAllowed => 0,
                Phase::Absent | Phase::Closed => continue,
            };
            if model.phase == Phase::Serving && model.interest.is_none() {
                return self.fail_at(now, link, format_args!("is served, and not watched"));
            }
            if now > overdue.saturating_add(SLACK) {
                return self.fail_at(now, link, format_args!("should have ended by {}", Time(overdue)));
            }
        }
        for (index, listener) in listeners.iter().enumerate() {
            self.check_listener(now, index, listener, descriptors);
        }
        if self.loops.iter().any(|knowledge| knowledge.stop.is_some_and(|stop| now > stop.forced + SLACK)) {
            self.fail(now, format_args!("the drain should be over"));
        }
    }

    /// A connection is held as long as it is allowed, and no permit is free.
    fn held_until(&self, model: &Model) -> u64 {
        let knowledge = &self.loops[0];
        let rules = knowledge.newest();
        let is_full = self.count_all(Phase::Serving) >= rules.max_connections;
        let is_right = is_full && !rules.refuses && !knowledge.knows_stop && rules.allows(model.address.ip());
        if is_right { u64::MAX } else { 0 }
    }

    fn count_all(&self, phase: Phase) -> usize {
        self.open.iter().filter(|link| self.models[**link].phase == phase).count()
    }

    /// No connection waits in a queue that could be accepted.
    fn check_listener(&mut self, now: u64, index: usize, listener: &Listener, descriptors: usize) {
        let accepting = &self.admission.listeners[index];
        let is_paused = now < accepting.paused_until.latest.saturating_add(SLACK);
        if listener.queue.is_empty() || accepting.is_closed || listener.is_dead || is_paused {
            return;
        }
        let knowledge = &self.loops[0];
        let waiting = listener.queue.len();
        if knowledge.knows_stop {
            if !listener.inherited && descriptors > 0 && accepting.accepted_at_stop < MOST_AT_STOP {
                self.fail(now, format_args!("{waiting} wait in the queue of listener {index} in the drain"));
            }
            return;
        }
        let rules = knowledge.newest();
        let (active, held) = (self.count_all(Phase::Serving), self.count_all(Phase::Held));
        // They may be strangers, who must keep no allowed peer out.
        let may_be_held = !rules.allows_all && held < MOST_HELD;
        if rules.refuses || active < rules.max_connections || may_be_held {
            let most = rules.max_connections;
            self.fail(
                now,
                format_args!(
                    "{waiting} wait in the queue of listener {index}, {active} of {most} are served, {held} are held"
                ),
            );
        }
    }

    /// After the end of every event loop: nothing is open, and the drain was not too long.
    pub(in crate::simulation) fn check_stopped(&mut self, now: u64) {
        for link in 0..self.models.len() {
            if !matches!(self.models[link].phase, Phase::Absent | Phase::Closed) {
                self.fail_at(now, link, format_args!("is left open"));
            }
        }
        if let Some(listener) = self.admission.listeners.iter().position(|listener| !listener.is_closed) {
            self.fail(now, format_args!("listener {listener} is left open"));
        }
        let Some(Stop { ends, .. }) = self.loops[0].stop else {
            return self.fail(now, format_args!("all event loops end without a stop"));
        };
        if now > ends + self.stalled_since_stop + SLACK {
            self.fail(now, format_args!("the drain ends after {}", Time(ends)));
        }
    }

    /// An event loop has ended. That is a violation unless the daemon stops.
    pub(in crate::simulation) fn loop_ended(&mut self, now: u64, me: usize) {
        if self.loops[me].stop.is_none() {
            self.fail(now, format_args!("loop {me} ends without a stop"));
        }
    }

    /// An event loop has failed. Returns whether it had to.
    pub(in crate::simulation) fn loop_failed(&mut self, now: u64, me: usize, error: &std::io::Error) -> bool {
        let had_to = self.admission.failed == Some(me) && !self.loops[me].knows_stop;
        if !had_to {
            self.fail(now, format_args!("loop {me} fails: {error}"));
        }
        had_to
    }

    /// A turn has ended, and the event loop goes on. That is a violation if a listener is dead.
    pub(in crate::simulation) fn check_failure(&mut self, now: u64, me: usize) {
        if self.admission.failed == Some(me) && self.loops[me].stop.is_none() {
            self.fail(now, format_args!("loop {me} goes on although a listener was shut down"));
        }
    }
}

/// When a served connection must have ended if nothing happens.
fn serving_ends(model: &Model, knowledge: &Knowledge) -> u64 {
    let wire = &model.wire;
    let after = |moment: u64, time: u64| moment.saturating_add(time);
    let stop = knowledge.stop.filter(|_| knowledge.knows_stop);
    if model.pending() > 0 {
        let forced = stop.map_or(u64::MAX, |stop| stop.forced);
        let write_timeout = knowledge.most(|rules| rules.write_timeout);
        return after(model.stalled_since.latest, write_timeout).min(forced);
    }
    // In a drain all connections end soon, allowed or not.
    if stop.is_none() && knowledge.excluded_since(model.address.ip()).is_some() {
        return 0;
    }
    let quiet = model.quiet_since.latest;
    let line = after(model.line_began.latest, knowledge.most(|rules| rules.line_timeout));
    let unterminated = after(quiet, knowledge.most(|rules| rules.unterminated_wait));
    let in_peace = match (wire.partial.is_empty(), wire.has_seen_lf) {
        (true, _) => after(quiet, knowledge.most(|rules| rules.idle_timeout)),
        (false, true) => line,
        (false, false) => line.min(unterminated),
    };
    match stop {
        Some(_) if model.has_been_answered() => 0,
        Some(stop) if wire.partial.is_empty() => stop.first_request,
        Some(stop) => in_peace.min(stop.first_request),
        None => in_peace,
    }
}
