//! The daemon `cliente`: a checklist; what it does is in the library.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use cliente::observe::metrics::Metrics;
use cliente::observe::report::Report;
use cliente::observe::totals::Totals;
use cliente::probes::expand::at_start;
use cliente::rounds::{Inputs, Rounds, RunError};
use cliente::settings::{Own, PROGRAM, limited};
use cliente::{bench, register_series};
use daemon::exit::Failure;
use daemon::http::{server, site};
use daemon::logging::Logging;
use daemon::metrics::telemetry::Telemetry;
use daemon::settings::{Section as _, Start, start};
use daemon::signals::Requests;
use daemon::supervisor::Supervisor;
use daemon::systemd::descriptors::Descriptors;
use daemon::systemd::watchdog::Watchdog;
use daemon::{exit, runtime};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The names of its sockets in the service manager.
const SOCKETS: [&str; 1] = ["metrics"];

fn main() -> ExitCode {
    let descriptors = Descriptors::from_environment(&SOCKETS);
    let start = match start::<Own>(&PROGRAM, std::env::args_os()) {
        Ok(start) => start,
        Err(status) => return status,
    };
    if let Some(flags) = start.flags.subcommand_matches(bench::flags::NAME) {
        return bench::command::bench(flags, &start.settings);
    }
    let logging = Arc::new(Logging::start(&start.settings.common));
    let threads = start.settings.common.worker_threads.get();
    let status = runtime::run(threads, serve(start, descriptors, Arc::clone(&logging)));
    status.unwrap_or_else(|error| exit::conclude(Err(error)))
}

async fn serve(
    start: Start<Own>,
    descriptors: io::Result<Descriptors>,
    logging: Arc<Logging>,
) -> anyhow::Result<ExitCode> {
    let mut descriptors = descriptors?;
    let Start { settings, source, flags } = start;
    settings.own.claim(&settings.common)?;
    let listen_is_given = source.gives("metrics-listen");
    let telemetry = Arc::new(Telemetry::install(PROGRAM.name));
    let metrics = Metrics::new(settings.own.detail, settings.own.buckets.bounds());
    let totals = Arc::new(Totals::new(settings.common.log_events_per_second.get(), metrics));
    let targets = at_start(&settings.own);
    register_series(&totals, &targets);
    let limited = limited(&flags);
    let names: Vec<_> = targets.into_iter().map(|labelled| labelled.target).collect();
    let interval = settings.own.interval.get();
    let begin = |limited| Report::begin(io::stdout(), limited, interval, &names);
    let report = limited.map(begin).transpose().map_err(RunError::Start)?.map(Arc::new);

    let (settings, in_force) = watch::channel(Arc::new(settings));
    let watchdog = Watchdog::from_environment();
    // Signals are handled before an address is told to anyone.
    let requests = Requests::listen().context("signals cannot be handled")?;
    let mut supervisor = Supervisor::new(
        Arc::clone(&totals),
        source,
        settings,
        requests,
        logging,
        Arc::clone(&telemetry),
        watchdog.clone(),
    );
    let notifier = supervisor.notifier();
    descriptors.close_unknown(&SOCKETS, notifier);
    let metrics_listen = in_force.borrow().common.metrics_listen;
    let admin_socket = server::open(&mut descriptors, notifier, metrics_listen, listen_is_given).await?;

    let mut tasks = JoinSet::new();
    if let Some(socket) = admin_socket {
        let totals = Arc::clone(&totals);
        let site = site::of(PROGRAM.name, totals, telemetry, in_force.clone(), supervisor.phase());
        tasks.spawn(server::serve(socket, Arc::new(site)));
    }
    let (stop, started) = (CancellationToken::new(), CancellationToken::new());
    let rounds = Rounds::start(Inputs {
        settings: in_force.clone(),
        stop: stop.clone(),
        started: started.clone(),
        totals: Arc::clone(&totals),
        watchdog,
        limited: limited.map(|limited| limited.rounds).zip(report.clone()),
    })?;
    let running = Running { rounds, started, stop, totals, report };
    running.until_end(supervisor, tasks, &in_force).await
}

/// The daemon at work.
struct Running {
    rounds: Rounds,
    started: CancellationToken,
    stop: CancellationToken,
    totals: Arc<Totals>,
    report: Option<Arc<Report>>,
}

impl Running {
    /// Reports readiness, waits for the end of the rounds or a stop, and drains.
    async fn until_end(
        self,
        mut supervisor: Supervisor<Totals>,
        mut tasks: JoinSet<io::Error>,
        settings: &watch::Receiver<Arc<cliente::settings::Settings>>,
    ) -> anyhow::Result<ExitCode> {
        let Self { mut rounds, started, stop, totals, report } = self;
        let stop_requested = async {
            started.cancelled().await;
            supervisor.ready();
            supervisor.until_stop(&mut tasks).await
        };
        select! {
            ended = rounds.ended() => ended?,
            () = broken(report.as_deref()) => {}
            requested = stop_requested => {
                requested?;
                stop.cancel();
                tracing::info!(rounds = totals.under_way(), "draining");
                let patience = settings.borrow().own.drain_timeout.get();
                let mut ended = Ok(());
                if !supervisor.drain(patience, async { ended = rounds.ended().await }).await {
                    ended = rounds.cut().await;
                }
                ended?;
            }
        }
        totals.log_stopped();
        let Some(report) = report else { return Ok(ExitCode::SUCCESS) };
        report.end().map_err(RunError::Report)?;
        Ok(if report.all_right() { ExitCode::SUCCESS } else { Failure::Run.into() })
    }
}

/// Waits until the report cannot be written, if there is one.
async fn broken(report: Option<&Report>) {
    match report {
        Some(report) => report.broken().await,
        None => std::future::pending().await,
    }
}
