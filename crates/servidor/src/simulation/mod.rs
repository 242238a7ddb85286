//! The whole server on a simulated kernel, in one thread and in simulated time. One seed decides everything.
//!
//! `world` has the time, the network and the peers, and `kernel::simulated` presents it to the server as a kernel.
//! The `driver` runs the event loops in turns. The `oracle` sees every system call, and checks it against a model that was
//! written from the contract, independently of the server.

mod calls;
mod choices;
#[cfg(test)]
mod costs;
mod coverage;
pub(crate) mod driver;
mod faults;
mod network;
mod oracle;
mod peers;
mod scenario;
mod scripts;
#[cfg(test)]
mod tables;
mod trace;
pub(crate) mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use self::choices::Choices;
pub use self::coverage::Coverage;
use self::driver::Threads;
use self::oracle::Oracle;
use self::scenario::{Scenario, Theme};
use self::trace::{Trace, trace};
use self::world::{Event, Listener, World};
use crate::context::Context;
use crate::kernel::simulated::Shared;
use crate::settings::Settings;

/// Where the choices of a run come from.
#[derive(Clone, Copy, Debug)]
pub enum Input<'i> {
    /// A generator.
    Seed(u64),
    /// The bytes of a fuzzer. When they are used up, every choice is the first option.
    Bytes(&'i [u8]),
    /// The same, for few peers, whose every step the bytes choose.
    FewPeers(&'i [u8]),
}

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The first violation of the contract, if there was one.
    pub violation: Option<String>,
    /// Everything that happened, one line each, if the trace was requested.
    pub trace: Vec<String>,
    /// How often each event occurred.
    pub coverage: Coverage,
    /// How many system calls the server made.
    pub calls: u64,
    /// How much simulated time passed.
    pub simulated: Duration,
}

/// The same in every run, and slow to create.
static DEFAULTS: OnceLock<Settings> = OnceLock::new();

/// Runs a server from its start to its stop.
///
/// # Panics
///
/// If the simulation itself has a bug. A panic of the server is a violation.
pub fn run(input: Input<'_>, keeps_trace: bool) -> Report {
    let mut choices = match input {
        Input::Seed(seed) => Choices::from_seed(seed),
        Input::Bytes(bytes) | Input::FewPeers(bytes) => Choices::from_bytes(bytes),
    };
    let scenario = match input {
        Input::FewPeers(_) => Scenario::of(Theme::Few, &mut choices),
        Input::Seed(_) | Input::Bytes(_) => Scenario::choose(&mut choices),
    };
    let mut settings = DEFAULTS.get_or_init(scenario::defaults).clone();
    settings.own = scenario.rules.own(&settings.own).as_ref().clone();
    settings.common.worker_threads = scenario::value(&scenario.loops.to_string());
    let context = Context::new(&settings);
    let shared = prepare(&scenario, choices, &context, keeps_trace);
    let threads = Threads::new(shared.clone(), settings, &context, &scenario);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        threads.assemble(&scenario);
        threads.drive();
    }));
    conclude(&shared, &threads, outcome.is_err())
}

/// The world before the server starts.
fn prepare(scenario: &Scenario, mut choices: Choices, context: &Arc<Context>, keeps_trace: bool) -> Shared {
    let faults = scenario.faults(&mut choices);
    let schedule = scenario.schedule(&mut choices);
    let oracle = Oracle::new(Arc::clone(context), scenario.loops, scenario.listeners.len(), &scenario.rules);
    let trace = if keeps_trace { Trace::kept() } else { Trace::default() };
    let mut world = World::new(choices, oracle, scenario.loops, trace);
    trace!(world, "{scenario:?}");
    world.faults = faults;
    (world.cost, world.batch) = (scenario.cost, scenario.batch);
    for (number, (at, fault)) in schedule.into_iter().enumerate() {
        world.faults.schedule.push(fault);
        world.schedule(at, Event::Fault(number));
    }
    world.listeners =
        scenario.listeners.iter().map(|(backlog, inherited)| Listener::new(*backlog, *inherited)).collect();
    scripts::populate(&mut world, scenario);
    // Only differences from it matter.
    Shared { world: Arc::new(Mutex::new(world)), base: Instant::now() }
}

/// The result of the run.
fn conclude(shared: &Shared, threads: &Threads, panicked: bool) -> Report {
    {
        let mut world = shared.world();
        let world = &mut *world;
        let now = world.now;
        if panicked {
            world.oracle.fail(now, format_args!("the server panicked"));
        }
        if threads.has_failed() {
            world.coverage.count("end: failed");
        } else {
            world.oracle.check_stopped(now);
            world.coverage.count("end: stopped");
        }
    }
    threads.clear();
    let world = &mut *shared.world();
    world.oracle.cover(&mut world.coverage);
    let violation = world.oracle.violation().map(str::to_owned);
    let trace = std::mem::take(&mut world.trace).into_lines();
    let coverage = std::mem::take(&mut world.coverage);
    Report { violation, trace, coverage, calls: world.calls, simulated: Duration::from_nanos(world.now) }
}
