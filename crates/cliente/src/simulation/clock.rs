//! Simulated time: whenever the client waits, the clock moves on to what happens next.
//!
//! The runtime's clock is paused, and moves by itself to the runtime's next timer. Timers are at whole milliseconds, and what the network
//! does is not; so the clock stops at the millisecond before, and goes the rest of the way by `advance`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::{Sleep, advance, sleep_until};

use super::operator::Operator;
use super::oracle::Whole;
use super::oracle::reading::Reading;
use super::scenario::Scenario;
use super::shared::Shared;
use super::trace::trace;
use super::world::{Event, MILLISECOND, Stall};
use crate::observe::totals::Totals;

/// A client that works so often without a pause spins.
const MOST_LOOKS: u64 = 10_000;

/// Moves time on.
pub(super) struct Clock {
    pub(super) shared: Shared,
    pub(super) scenario: Scenario,
    pub(super) operator: Operator,
    /// Stops the runtime's clock in time.
    sleep: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl Clock {
    pub(super) fn new(shared: Shared, scenario: Scenario, operator: Operator) -> Self {
        Self { shared, scenario, operator, sleep: Mutex::default() }
    }

    /// Compares what the client has counted with the contract.
    pub(super) fn look(&self) {
        let totals: &Arc<Totals> = &self.operator.totals;
        let readings: Vec<Reading> =
            self.operator.targets.iter().map(|target| totals.metrics.reading(target)).collect();
        let mut world = self.shared.world();
        let world = &mut *world;
        let whole = Whole {
            totals: totals.counts(),
            under_way: totals.under_way(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            sockets: world.open_sockets(),
            readings: &readings,
        };
        world.oracle.look(world.now, whole, &mut world.coverage);
        for note in world.oracle.take_notes() {
            trace!(world, "{note}");
        }
        world.looks = if world.looked_at == world.now { world.looks + 1 } else { 0 };
        world.looked_at = world.now;
        if world.looks > MOST_LOOKS {
            world.oracle.fail(world.now, format_args!("it works without a pause"));
        }
    }

    /// The client waits for something: it happens.
    pub(super) fn idle(&self) {
        if self.operator.cut.is_cancelled() {
            return;
        }
        self.look();
        if self.shared.world().oracle.violation().is_some() {
            self.operator.cut.cancel();
            return;
        }
        loop {
            let (now, next) = {
                let world = self.shared.world();
                (world.now, world.next_event())
            };
            let Some(next) = next else {
                self.shared.world().oracle.fail(now, format_args!("nothing will ever happen again"));
                self.operator.cut.cancel();
                return;
            };
            let boundary = (now / MILLISECOND + 1) * MILLISECOND;
            if next < boundary {
                move_by(next.saturating_sub(now));
                if self.happen() {
                    return;
                }
            } else if now.is_multiple_of(MILLISECOND) {
                self.sleep_until(next / MILLISECOND * MILLISECOND);
                return;
            } else {
                move_by(boundary - now);
                // Timers of this millisecond fire now, and none of later ones.
                drop(Handle::current().spawn(async {}));
                return;
            }
        }
    }

    /// The runtime's clock may go until `at`, which is later than now.
    fn sleep_until(&self, at: u64) {
        let deadline = self.shared.instant(at);
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep.as_mut().reset(deadline);
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Lets happen what happens now. Returns whether the client has something to do.
    fn happen(&self) -> bool {
        let mut world = self.shared.world();
        let now = world.now;
        while let Some(event) = world.take_event(now) {
            match event {
                Event::Stall(stall) => {
                    drop(world);
                    self.stall(stall);
                    return true;
                }
                Event::Operator(action) => {
                    self.operator.act(action, &mut world, &self.scenario);
                    drop(world);
                    drop(Handle::current().spawn(async {}));
                    return true;
                }
                other => world.handle(other),
            }
        }
        let wakers = world.take_wakers();
        drop(world);
        let has_work = !wakers.is_empty();
        wakers.into_iter().for_each(Waker::wake);
        has_work
    }

    /// The process does not run for a while, or is busy; what happens meanwhile is seen afterwards, all at once.
    fn stall(&self, stall: Stall) {
        let Stall { length, is_busy, is_interrupted } = stall;
        let from = self.shared.now();
        move_by(length);
        let mut world = self.shared.world();
        let to = world.now;
        world.coverage.count(if is_busy { "stall: busy" } else { "stall" });
        {
            let world = &mut *world;
            trace!(world, "has not run for {} ns: {stall:?}", to - from);
        }
        world.oracle.stalled(from, to, is_busy);
        world.used += if is_busy { length } else { 0 };
        let mut actions = Vec::new();
        while let Some(event) = world.take_event(to) {
            match event {
                Event::Stall(_) => {}
                Event::Operator(action) => actions.push(action),
                other => world.handle(other),
            }
        }
        world.now = to;
        for action in actions {
            self.operator.act(action, &mut world, &self.scenario);
        }
        if is_interrupted {
            world.coverage.count("stall: interrupted");
            // Who is to be woken is remembered in the world.
            world.blind();
            let shared = self.shared.clone();
            drop(Handle::current().spawn(async move {
                yield_now().await;
                let wakers = {
                    let mut world = shared.world();
                    world.unblind();
                    world.take_wakers()
                };
                wakers.into_iter().for_each(Waker::wake);
            }));
            return;
        }
        let wakers = world.take_wakers();
        drop(world);
        wakers.into_iter().for_each(Waker::wake);
        drop(Handle::current().spawn(async {}));
    }

    /// Time goes no further.
    pub(super) fn end(&self) {
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.shared.world().oracle.end();
    }
}

fn move_by(nanoseconds: u64) {
    // It moves the clock at once; what it would wait for is one turn of the runtime.
    let _ = advance(Duration::from_nanos(nanoseconds)).now_or_never();
}
