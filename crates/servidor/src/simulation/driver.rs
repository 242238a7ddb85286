//! Runs the event loops in one thread, one turn at a time, in simulated time. The input decides on the order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::coverage::Coverage;
use super::oracle::Rules;
use super::scenario::Scenario;
use super::trace::trace;
use super::world::{MICROSECOND, MILLISECOND, SECOND};
use crate::context::Context;
use crate::event_loop::{EventLoop, Listening};
use crate::kernel::simulated::{Listener, Shared, Simulated};
use crate::server::Server;
use crate::settings::{Own, Settings};

/// A run with more kernel calls than this does not end.
const MOST_CALLS: u64 = 2_000_000;

/// An action of the operator.
enum Control {
    Reload(Rules),
    Stop,
}

/// The event loops, which take turns, and the server's handles to them.
pub(crate) struct Threads {
    shared: Shared,
    base: Settings,
    context: Arc<Context>,
    /// `None` while its turn is running.
    loops: RefCell<Vec<Option<EventLoop<Simulated>>>>,
    server: RefCell<Option<Server<Simulated>>>,
    controls: RefCell<VecDeque<(u64, Control)>>,
    /// The settings in force.
    rules: RefCell<Rules>,
    drain_timeout: u64,
    /// The number of nested turns: a preempted one, and those that run meanwhile.
    depth: Cell<usize>,
    has_failed: Cell<bool>,
    is_acting: Cell<bool>,
}

impl Threads {
    pub(super) fn new(
        shared: Shared,
        base: Settings,
        context: &Arc<Context>,
        scenario: &Scenario,
    ) -> Rc<Self> {
        let reloads = scenario.reloads.iter().map(|(at, rules)| (*at, Control::Reload(rules.clone())));
        let mut controls: Vec<_> = reloads.chain([(scenario.stop_at, Control::Stop)]).collect();
        controls.sort_by_key(|(at, _)| *at);
        Rc::new(Self {
            shared,
            base,
            context: Arc::clone(context),
            loops: RefCell::default(),
            server: RefCell::default(),
            controls: RefCell::new(controls.into()),
            rules: RefCell::new(scenario.rules.clone()),
            drain_timeout: scenario.rules.drain_timeout,
            depth: Cell::new(0),
            has_failed: Cell::new(false),
            is_acting: Cell::new(false),
        })
    }

    /// Starts the server.
    pub(super) fn assemble(self: &Rc<Self>, scenario: &Scenario) {
        let kernel = |me| Simulated::new(me, self.shared.clone(), Rc::clone(self));
        let listening = scenario.listeners.iter().enumerate().map(|(index, (_, inherited))| Listening {
            socket: Listener::new(index, self.shared.clone()),
            address: ([127, 0, 0, 1], 8888).into(),
            outlives: *inherited,
        });
        let kernels = (0..scenario.loops).map(kernel).collect();
        let (server, loops) = Server::assemble(kernels, listening.collect(), &self.base, &self.context);
        *self.server.borrow_mut() = Some(server);
        self.loops.borrow_mut().extend(loops.into_iter().map(Some));
    }

    /// Runs until the server has stopped or failed, or there is a violation.
    pub(super) fn drive(&self) {
        while !self.is_over() {
            self.act();
            let runnable: Vec<usize> = (0..self.count()).filter(|me| self.is_runnable(*me)).collect();
            if runnable.is_empty() {
                self.let_time_pass();
                continue;
            }
            if let Some(me) = self.choose(&runnable) {
                self.turn(me);
            }
        }
    }

    /// Chooses the next event loop, or suspends it instead.
    fn choose(&self, runnable: &[usize]) -> Option<usize> {
        let mut world = self.shared.world();
        let world = &mut *world;
        let me = *world.choices.pick(runnable);
        if !world.faults.suspensions.hits(&mut world.choices) {
            return Some(me);
        }
        let time = world.choices.magnitude(10 * MICROSECOND, 3 * SECOND);
        world.suspend(me, time);
        None
    }

    /// Suspends one event loop, so that event loops learn about the operator's action at different times.
    fn suspend_one(&self) {
        let world = &mut *self.shared.world();
        if world.choices.one_in(2) {
            // Mostly the accepting one: its connections then reach event loops with newer settings.
            let me = if world.choices.one_in(2) { 0 } else { world.choices.index(world.loops.len()) };
            let time = world.choices.between(MILLISECOND, 20 * MILLISECOND);
            world.suspend(me, time);
        }
    }

    /// Ends the run, and drops everything.
    pub(super) fn clear(&self) {
        self.shared.world().oracle.end();
        let loops = std::mem::take(&mut *self.loops.borrow_mut());
        drop(loops);
        let server = self.server.borrow_mut().take();
        drop(server);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    fn count(&self) -> usize {
        self.loops.borrow().len()
    }

    fn is_over(&self) -> bool {
        let mut world = self.shared.world();
        if world.calls > MOST_CALLS {
            let now = world.now;
            world.oracle.fail(now, format_args!("the run does not come to an end"));
        }
        let have_ended = world.loops.iter().all(|each| each.has_ended);
        have_ended || self.has_failed.get() || world.oracle.violation().is_some()
    }

    fn is_runnable(&self, me: usize) -> bool {
        let deadline = self.deadline(me);
        let world = self.shared.world();
        let each = &world.loops[me];
        let is_due = deadline.is_some_and(|deadline| deadline <= world.now);
        !each.has_ended && each.suspended_until <= world.now && (is_due || world.has_ready(me))
    }

    fn deadline(&self, me: usize) -> Option<u64> {
        let deadline = self.loops.borrow()[me].as_ref()?.next_deadline()?;
        Some(self.shared.nanoseconds(deadline))
    }

    /// Nothing is ready: time passes until something happens.
    fn let_time_pass(&self) {
        let deadlines: Vec<_> = (0..self.count()).map(|me| self.deadline(me)).collect();
        let control = self.controls.borrow().front().map(|(at, _)| *at);
        let mut world = self.shared.world();
        let world = &mut *world;
        let suspended = world.loops.iter().filter(|each| !each.has_ended).map(|each| each.suspended_until);
        let suspended = suspended.filter(|until| *until > world.now).min();
        if suspended.is_none() {
            let descriptors = world.faults.descriptors.saturating_sub(world.open_descriptors());
            world.oracle.check_quiet(world.now, &world.listeners, descriptors);
        }
        // The deadline of a suspended loop may have passed.
        let deadlines = deadlines.into_iter().flatten().filter(|deadline| *deadline > world.now).min();
        let next = [deadlines, control, suspended, world.next_event()].into_iter().flatten().min();
        match next {
            Some(next) => world.advance_to(next),
            None => world.oracle.fail(world.now, format_args!("nothing will ever happen again")),
        }
    }

    /// Performs the operator's actions that are due.
    fn act(&self) {
        // The operator does one thing at a time.
        if self.is_acting.replace(true) {
            return;
        }
        let now = self.shared.world().now;
        let due = |controls: &VecDeque<(u64, Control)>| controls.front().is_some_and(|(at, _)| *at <= now);
        while due(&self.controls.borrow()) {
            let control = self.controls.borrow_mut().pop_front();
            self.suspend_one();
            match control {
                Some((_, Control::Reload(rules))) => self.reload(&rules),
                Some((_, Control::Stop)) => self.stop(),
                None => {}
            }
        }
        self.is_acting.set(false);
    }

    fn reload(&self, rules: &Rules) {
        let own: Arc<Own> = rules.own(&self.base.own);
        {
            let mut world = self.shared.world();
            let world = &mut *world;
            trace!(world, "reload: {rules:?}");
            world.oracle.reloaded(world.now, rules);
            self.count_changes(rules, &mut world.coverage);
        }
        if let Some(server) = &*self.server.borrow() {
            server.apply(&own);
        }
    }

    fn count_changes(&self, rules: &Rules, coverage: &mut Coverage) {
        let old = self.rules.replace(rules.clone());
        let times = |rules: &Rules| {
            (rules.unterminated_wait, rules.idle_timeout, rules.line_timeout, rules.write_timeout)
        };
        let changes = [
            ("reload", true),
            ("reload: timeouts", times(&old) != times(rules)),
            ("reload: allow", old.allows_guests != rules.allows_guests || old.allows_all != rules.allows_all),
            ("reload: max-connections", old.max_connections != rules.max_connections),
            ("reload: overload", old.refuses != rules.refuses),
        ];
        for (name, _) in changes.iter().filter(|(_, is_changed)| *is_changed) {
            coverage.count(name);
        }
    }

    fn stop(&self) {
        let now = {
            let mut world = self.shared.world();
            let world = &mut *world;
            trace!(world, "stop");
            world.coverage.count("stop");
            let suspended =
                world.loops.iter().map(|each| each.suspended_until.saturating_sub(world.now)).sum();
            world.oracle.stop_began(world.now, self.drain_timeout, suspended);
            world.now
        };
        if let Some(server) = &*self.server.borrow() {
            server.stop(self.shared.instant(now), Duration::from_nanos(self.drain_timeout));
        }
    }

    /// Another event loop or the operator may act before the running turn continues.
    pub(crate) fn preempt(&self) {
        if self.depth.get() == 0 || self.loops.try_borrow_mut().is_err() {
            return;
        }
        let hits = {
            let mut world = self.shared.world();
            let world = &mut *world;
            world.oracle.violation().is_none() && world.faults.preemptions.hits(&mut world.choices)
        };
        if !hits {
            return;
        }
        self.act();
        let is_there = |other: &usize| self.loops.borrow()[*other].is_some();
        let others: Vec<usize> =
            (0..self.count()).filter(is_there).filter(|other| self.is_runnable(*other)).collect();
        if others.is_empty() {
            return;
        }
        let other = {
            let world = &mut *self.shared.world();
            world.coverage.count("thread preempted");
            let other = *world.choices.pick(&others);
            trace!(world, "loop {other} runs meanwhile");
            other
        };
        self.turn(other);
        let world = &mut *self.shared.world();
        trace!(world, "the turn before goes on");
    }

    /// One turn of an event loop.
    fn turn(&self, me: usize) {
        let Some(mut event_loop) = self.loops.borrow_mut()[me].take() else { return };
        {
            let mut world = self.shared.world();
            let now = world.now;
            world.oracle.turn_begins(now, me);
        }
        self.depth.set(self.depth.get() + 1);
        let outcome = event_loop.turn(None);
        self.depth.set(self.depth.get() - 1);
        if let Err(error) = &outcome {
            self.fail(me, error);
        }
        if matches!(outcome, Ok(true)) {
            self.loops.borrow_mut()[me] = Some(event_loop);
        } else {
            drop(event_loop);
        }
        let mut world = self.shared.world();
        let world = &mut *world;
        let now = world.now;
        world.oracle.turn_ends(now, me);
        match outcome {
            Ok(true) => world.oracle.check_failure(now, me),
            Ok(false) => {
                trace!(world, "loop {me} ends");
                world.loops[me].has_ended = true;
                world.oracle.loop_ended(now, me);
            }
            Err(_) => {}
        }
        if let Some(event_loop) = &self.loops.borrow()[me] {
            world.oracle.check_census(now, me, event_loop.census());
        }
        if self.depth.get() == 0 {
            world.oracle.check_metrics(now, &mut world.coverage);
        }
    }

    /// An event loop has failed, and with it the daemon.
    fn fail(&self, me: usize, error: &io::Error) {
        let mut world = self.shared.world();
        let world = &mut *world;
        trace!(world, "loop {me} fails: {error}");
        world.loops[me].has_ended = true;
        if world.oracle.loop_failed(world.now, me, error) {
            self.has_failed.set(true);
            world.oracle.end();
        }
    }
}
