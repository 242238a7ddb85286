//! The oracle: a slow and simple model of the contract. It sees each system call, and never the server's state.
//!
//! The contract is the README. `exchange` checks what is read and sent, `ending` how connections end, `admission` what is
//! accepted, `ledger` what is counted, and `quiet` that nothing is left undone.

mod admission;
mod ending;
mod exchange;
mod ledger;
mod model;
mod quiet;
mod rules;
mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use self::admission::Admission;
use self::ledger::Ledger;
use self::model::Model;
pub(crate) use self::rules::Rules;
use self::rules::{Knowledge, Stop};
use super::trace::Time;
use crate::context::Context;

/// See the module.
pub(crate) struct Oracle {
    models: Vec<Model>,
    /// The open ones.
    open: Vec<usize>,
    loops: Vec<Knowledge>,
    admission: Admission,
    ledger: Ledger,
    context: Arc<Context>,
    /// By event loop: connections with a call in the current turn.
    touched: Vec<Vec<usize>>,
    /// How long the process has stalled since the stop began.
    stalled_since_stop: u64,
    violation: Option<String>,
    /// The run is over. Whatever is dropped now, the simulator drops.
    is_over: bool,
}

impl Oracle {
    pub(super) fn new(context: Arc<Context>, loops: usize, listeners: usize, rules: &Rules) -> Self {
        Self {
            models: Vec::new(),
            open: Vec::new(),
            loops: (0..loops).map(|_| Knowledge::new(rules.clone())).collect(),
            admission: Admission::new(listeners),
            ledger: Ledger::default(),
            context,
            touched: vec![Vec::new(); loops],
            stalled_since_stop: 0,
            violation: None,
            is_over: false,
        }
    }

    pub(super) fn add_peer(&mut self, address: SocketAddr) {
        self.models.push(Model::new(address));
    }

    /// Counts the open connections of an event loop that match.
    fn count(&self, me: usize, is_counted: impl Fn(&Model) -> bool) -> usize {
        self.open_of(me).filter(|model| is_counted(model)).count()
    }

    fn open_of(&self, me: usize) -> impl Iterator<Item = &Model> {
        self.open.iter().map(|link| &self.models[*link]).filter(move |model| model.owner == me)
    }

    /// Records a violation. The first one is kept.
    pub(super) fn fail(&mut self, now: u64, text: fmt::Arguments<'_>) {
        // Whatever a panic drops is not a call of the server.
        if self.violation.is_none() && !self.is_over && !std::thread::panicking() {
            self.violation = Some(format!("at {}: {text}", Time(now)));
        }
    }

    fn fail_at(&mut self, now: u64, link: usize, text: fmt::Arguments<'_>) {
        if self.violation.is_none() {
            let model = self.models[link].to_string();
            self.fail(now, format_args!("#{link} {text}\n  ({model})"));
        }
    }

    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// The run is over.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    pub(super) fn clock_read(&mut self, now: u64, me: usize) {
        self.loops[me].clock = now;
    }

    pub(super) fn acknowledged(&mut self, me: usize) {
        self.loops[me].acknowledge();
    }

    pub(super) fn reloaded(&mut self, now: u64, rules: &Rules) {
        for each in &mut self.loops {
            each.reload(now, rules);
        }
    }

    /// The stop begins. `suspended` is how long event loops remain suspended, in total.
    pub(super) fn stop_began(&mut self, now: u64, drain_timeout: u64, suspended: u64) {
        for each in &mut self.loops {
            each.stop = Some(Stop::new(now, drain_timeout));
        }
        self.stalled_since_stop = suspended;
    }

    pub(super) fn stalled_for(&mut self, time: u64) {
        self.stalled_since_stop += time;
    }

    pub(super) fn turn_begins(&mut self, now: u64, me: usize) {
        self.loops[me].turn_began = now;
    }

    /// Events of this turn happened no later than now.
    pub(super) fn turn_ends(&mut self, now: u64, me: usize) {
        self.admission.turn_ends(now, me);
        self.decide(now, me);
        for link in std::mem::take(&mut self.touched[me]) {
            self.settle(now, link);
        }
        self.loops[me].turn_ends();
        self.check_room(now, me);
    }

    /// The end of a turn for one of its connections.
    fn settle(&mut self, now: u64, link: usize) {
        let model = &mut self.models[link];
        model.quiet_since.turn_ends(now);
        model.line_began.turn_ends(now);
        model.finished.turn_ends(now);
        let moved = model.stalled_since.latest.saturating_add(exchange::time_for(model.progress));
        model.stalled_since.latest = moved.min(now);
        (model.progress, model.read_in_turn) = (0, 0);
        self.check_interest(now, link);
    }

    fn touch(&mut self, me: usize, link: usize) {
        self.models[link].owner = me;
        if !self.touched[me].contains(&link) {
            self.touched[me].push(link);
        }
    }

    /// The peer has read these bytes.
    pub(super) fn peer_read(&mut self, now: u64, link: usize, bytes: &[u8]) {
        let model = &mut self.models[link];
        let expected = model.wire.replies.get(model.arrived..model.arrived + bytes.len());
        let is_right = expected == Some(bytes);
        model.arrived += bytes.len();
        if !is_right {
            self.fail_at(now, link, format_args!("the peer reads what is no reply to what it sent"));
        }
    }
}
