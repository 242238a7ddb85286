//! A daemon fails if one of its tasks ends.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::exit;
use daemon::http::page::Sections;
use daemon::http::site;
use daemon::logging::Logging;
use daemon::metrics::telemetry::Telemetry;
use daemon::phase::Phase;
use daemon::settings::{Count, Program, start};
use daemon::signals::Requests;
use daemon::supervisor::{Supervised, Supervisor};
use daemon::systemd::watchdog::Watchdog;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PROGRAM: Program = Program {
    name: "idler",
    about: "Does nothing",
    extra: |command| command,
    defaults: &[],
    implied: |_| Vec::new(),
};

daemon::settings! {
    /// The settings of this test's daemon.
    pub struct Own {
        /// Means nothing.
        trifle: Count<0, 9> = "0", Live;
    }
}

/// A process has one recorder, whichever test comes first.
fn telemetry() -> Arc<Telemetry> {
    static TELEMETRY: OnceLock<Arc<Telemetry>> = OnceLock::new();
    Arc::clone(TELEMETRY.get_or_init(|| Arc::new(Telemetry::install(PROGRAM.name))))
}

struct Idler;

impl Supervised for Idler {
    type Own = Own;

    fn status(&self) -> String {
        String::new()
    }

    fn page(&self) -> Sections {
        Sections::default()
    }

    fn report(&self, _uptime: Duration) {}

    fn refill_budgets(&self, _per_second: u32) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_task_that_ends_or_panics_fails_the_run() {
    let start = start::<Own>(&PROGRAM, [PROGRAM.name.into()]).expect("the defaults are in order");
    let logging = Arc::new(Logging::start(&start.settings.common));
    let telemetry = telemetry();
    for panics in [false, true] {
        let (settings, _) = watch::channel(Arc::new(start.settings.clone()));
        let requests = Requests::listen().expect("signals can be handled");
        let (source, watchdog) = (start.source.clone(), Watchdog::from_environment());
        let (logging, telemetry) = (Arc::clone(&logging), Arc::clone(&telemetry));
        let mut supervisor =
            Supervisor::new(Arc::new(Idler), source, settings, requests, logging, telemetry, watchdog);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            assert!(!panics, "a bug of this program");
            io::Error::other("it cannot go on")
        });
        let outcome = tokio::time::timeout(Duration::from_mins(1), supervisor.until_stop(&mut tasks)).await;
        let outcome = outcome.expect("it does not go on as if nothing had happened");
        let outcome = outcome.map_err(Box::<dyn Error>::from);
        assert_eq!(exit::conclude(outcome), ExitCode::FAILURE, "panics: {panics}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_uptime_follows_the_monotonic_clock() {
    let start = start::<Own>(&PROGRAM, [PROGRAM.name.into()]).expect("the defaults are in order");
    let (_settings, in_force) = watch::channel(Arc::new(start.settings));
    let (_phase, phase) = watch::channel(Phase::Ready);
    let site = site::of(PROGRAM.name, Arc::new(Idler), telemetry(), in_force, phase);
    assert!((site.page)().contains("up for 0 s"), "{}", (site.page)());
    tokio::time::advance(Duration::from_hours(25)).await;
    assert!((site.page)().contains("up for 1 d 1 h"), "{}", (site.page)());
}
