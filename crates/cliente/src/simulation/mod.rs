//! The rounds on a simulated host, in one thread and in simulated time. One seed decides everything.
//!
//! `world` has the network, with its `servers` and `names`; `host` presents it to the client in place of the real one. The `clock` moves
//! on whenever the client waits. The `oracle` sees what the network did, and checks what the client made of it against README.

mod choices;
mod clock;
mod coverage;
mod datagrams;
pub(crate) mod host;
mod names;
mod operator;
pub(crate) mod oracle;
mod scenario;
mod servers;
mod shared;
mod sockets;
mod trace;
mod world;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use daemon::settings::start;
use daemon::systemd::watchdog::Watchdog;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::choices::Choices;
use self::clock::Clock;
pub use self::coverage::Coverage;
use self::operator::Operator;
use self::scenario::Scenario;
use self::shared::Shared;
use self::trace::{Trace, trace};
use crate::observe::metrics::Metrics;
use crate::observe::report::Report as Printed;
use crate::observe::totals::Totals;
use crate::rounds::{Inputs, until_cut};
use crate::settings::{Limited, Own, PROGRAM, Settings};

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The first violation of the contract, if there was one.
    pub violation: Option<String>,
    /// Everything that happened, one line each, if the trace was requested.
    pub trace: Vec<String>,
    /// How often each event occurred.
    pub coverage: Coverage,
    /// How many rounds were made.
    pub rounds: u64,
    /// How much simulated time passed.
    pub simulated: Duration,
}

/// The same in every run, and slow to create.
static DEFAULTS: OnceLock<Settings> = OnceLock::new();

/// Runs a client from its start to its stop.
///
/// # Panics
///
/// If the simulation itself has a bug. A panic of the client is a violation.
pub fn run(seed: u64, keeps_trace: bool) -> Report {
    let mut choices = Choices::from_seed(seed);
    let scenario = Scenario::choose(&mut choices);
    simulate(scenario, choices, keeps_trace)
}

/// Runs a client with `targets` targets for so many simulated weeks, with a round every two minutes.
///
/// # Panics
///
/// As [`run`].
pub fn run_weeks(seed: u64, targets: usize, weeks: u64) -> Report {
    let mut choices = Choices::from_seed(seed);
    let scenario = Scenario::of_weeks(&mut choices, targets, weeks);
    simulate(scenario, choices, false)
}

fn simulate(scenario: Scenario, choices: Choices, keeps_trace: bool) -> Report {
    let slot = Arc::<OnceLock<Clock>>::default();
    let of_hook = Arc::clone(&slot);
    let mut builder = Builder::new_current_thread();
    let hook = move || {
        if let Some(clock) = of_hook.get() {
            clock.idle();
        }
    };
    let runtime =
        builder.enable_time().start_paused(true).on_thread_park(hook).build().expect("it needs nothing");
    let printed = Arc::<Mutex<Vec<u8>>>::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(live(scenario, choices, keeps_trace, &slot, &printed));
    }));
    let clock = slot.get().expect("it is set first of all");
    let shared = clock.shared.clone();
    let (coverage, violation, trace, simulated) = {
        let mut world = shared.world();
        let world = &mut *world;
        if outcome.is_err() {
            world.oracle.fail(0, format_args!("the client panicked"));
        }
        let violation = world.oracle.violation().map(str::to_owned);
        let trace = std::mem::take(&mut world.trace).into_lines();
        (std::mem::take(&mut world.coverage), violation, trace, world.ended.unwrap_or_default())
    };
    let rounds = clock.operator.totals.counts()[0];
    clock.end();
    drop(runtime);
    Report { violation, trace, coverage, rounds, simulated: Duration::from_nanos(simulated) }
}

/// Runs the client, and checks its end.
async fn live(
    mut scenario: Scenario,
    mut choices: Choices,
    keeps_trace: bool,
    slot: &OnceLock<Clock>,
    printed: &Arc<Mutex<Vec<u8>>>,
) {
    let defaults =
        DEFAULTS.get_or_init(|| start::<Own>(&PROGRAM, ["cliente".into()]).expect("defaults").settings);
    let targets = scenario.texts();
    let settings = operator::settings(defaults, &scenario.rules, &targets, scenario.drain_timeout);
    let own = settings.own.clone();
    let trace = if keeps_trace { Trace::kept() } else { Trace::default() };
    let mut world = scenario.world(&mut choices, trace);
    trace!(world, "{scenario:?}");
    let shared = Shared::new(world);
    let _entered = host::enter(shared.clone());

    let metrics = Metrics::new(own.detail, own.buckets.bounds());
    let totals = Arc::new(Totals::new(0, metrics));
    let (settings, in_force) = watch::channel(Arc::new(settings));
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let limited = scenario.count.map(|rounds| Limited { rounds, quiet: true, json: true });
    let names: Vec<_> = own.targets().into_iter().map(|labelled| labelled.target).collect();
    let out = Out(Arc::clone(printed));
    let report = limited.map(|limited| {
        Arc::new(Printed::begin(out, limited, own.interval.get(), &names).expect("there is a thread"))
    });
    let inputs = Inputs {
        settings: in_force,
        stop: stop.clone(),
        started: CancellationToken::new(),
        totals: Arc::clone(&totals),
        watchdog: Watchdog::from_environment(),
        limited: scenario.count.zip(report.clone()),
    };
    let operator = Operator { settings, stop, cut: cut.clone(), totals, targets };
    let clock = slot.get_or_init(|| Clock::new(shared.clone(), scenario, operator));
    let ended = until_cut(inputs, &cut).await;
    let was_cut = shared.world().forced.is_some();
    if !was_cut {
        clock.look();
    }
    let mut world = shared.world();
    let now = world.now;
    world.ended = Some(now);
    if let Err(error) = ended {
        world.oracle.fail(now, format_args!("the rounds failed: {error}"));
    }
    if world.oracle.violation().is_none() {
        let forced = world.forced.unwrap_or_default();
        world.oracle.check_end(now, forced, was_cut);
    }
    if let Some(report) = report {
        report.end().expect("it is kept in memory");
        let text = printed.lock().unwrap_or_else(PoisonError::into_inner);
        world.coverage.count("report");
        world.oracle.check_report(now, &String::from_utf8_lossy(&text));
    }
    world.oracle.check_exposition(now, &exposition(&clock.operator.totals));
}

/// What a scrape reads of the targets.
fn exposition(totals: &Totals) -> String {
    let mut text = String::new();
    totals.metrics.write(&mut text);
    text
}

/// What the report prints.
struct Out(Arc<Mutex<Vec<u8>>>);

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
