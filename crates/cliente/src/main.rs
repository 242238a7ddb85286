//! The daemon `cliente`: a checklist; what it does is in the library.

use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use cliente::report::Report;
use cliente::settings::{Own, PROGRAM, count};
use cliente::totals::Totals;
use cliente::{Inputs, RunError, bench, register_series, run};
use daemon::exit::Failure;
use daemon::http::{server, site};
use daemon::logging::Logging;
use daemon::metrics::telemetry::Telemetry;
use daemon::settings::{Start, start};
use daemon::signals::Requests;
use daemon::supervisor::Supervisor;
use daemon::systemd::descriptors::Descriptors;
use daemon::systemd::watchdog::Watchdog;
use daemon::{exit, runtime};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What its sockets are called by the service manager.
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
    let listen_is_given = source.gives("metrics-listen");
    let telemetry = Arc::new(Telemetry::install(PROGRAM.name));
    register_series(settings.own.target.as_slice());
    let totals = Arc::new(Totals::new(settings.common.log_events_per_second.get()));
    let count = count(&flags);
    let begin = |_| Report::begin(io::stdout(), settings.own.target.as_slice());
    let mut report = count.map(begin).transpose().map_err(RunError::Report)?;

    let (settings, in_force) = watch::channel(Arc::new(settings));
    let watchdog = Watchdog::from_environment();
    // Signals are taken over before an address is told to anyone.
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
    let inputs = Inputs {
        settings: in_force.clone(),
        stop: stop.clone(),
        started: started.clone(),
        totals: Arc::clone(&totals),
        watchdog,
        limited: count.zip(report.as_mut()),
    };
    let mut forced = 0;
    {
        let mut run = pin!(run(inputs));
        let stop_requested = async {
            started.cancelled().await;
            supervisor.ready();
            supervisor.until_stop(&mut tasks).await
        };
        select! {
            ended = &mut run => ended?,
            requested = stop_requested => {
                requested?;
                stop.cancel();
                tracing::info!(rounds = totals.under_way(), "draining");
                let patience = in_force.borrow().own.drain_timeout.get();
                let mut ended = Ok(());
                if !supervisor.drain(patience, async { ended = run.await }).await {
                    forced = totals.under_way();
                }
                ended?;
            }
        }
    }
    totals.log_stopped(forced);
    let Some(mut report) = report else { return Ok(ExitCode::SUCCESS) };
    report.end().map_err(RunError::Report)?;
    Ok(if report.all_right() { ExitCode::SUCCESS } else { Failure::Run.into() })
}
