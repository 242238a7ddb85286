//! The daemon `servidor`: connects the parts of the library.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use daemon::http::{server, site};
use daemon::logging::Logging;
use daemon::metrics::telemetry::Telemetry;
use daemon::settings::{Section as _, Start, start};
use daemon::signals::Requests;
use daemon::supervisor::Supervisor;
use daemon::systemd::descriptors::Descriptors;
use daemon::systemd::store;
use daemon::systemd::watchdog::Watchdog;
use daemon::{exit, runtime};
use servidor::settings::{Own, PROGRAM};
use servidor::{Context, Serving};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The names of its sockets at the service manager.
const SOCKETS: [&str; 2] = ["servidor", "metrics"];

fn main() -> ExitCode {
    let descriptors = Descriptors::from_environment(&SOCKETS);
    let start = match start::<Own>(&PROGRAM, std::env::args_os()) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let logging = Arc::new(Logging::start(&start.settings.common));
    // The event loops have their own threads. The runtime does everything else.
    exit::conclude(runtime::run(1, serve(start, descriptors, Arc::clone(&logging))))
}

async fn serve(
    Start { settings, source, .. }: Start<Own>,
    descriptors: io::Result<Descriptors>,
    logging: Arc<Logging>,
) -> anyhow::Result<()> {
    let mut descriptors = descriptors?;
    let telemetry = Arc::new(Telemetry::install(PROGRAM.name));
    let context = Context::new(&settings);
    settings.own.claim(&settings.common)?;
    let (settings, in_force) = watch::channel(Arc::new(settings));
    let watchdog = Watchdog::from_environment();
    // Handlers are installed first: someone who sees an address in the log may already send a signal.
    let requests = Requests::listen().context("signals cannot be handled")?;

    let settings_now = in_force.borrow().clone();
    let [listen_is_given, metrics_listen_is_given] =
        ["listen", "metrics-listen"].map(|name| source.gives(name));
    let mut supervisor = Supervisor::new(
        Arc::clone(&context),
        source,
        settings,
        requests,
        logging,
        Arc::clone(&telemetry),
        watchdog.clone(),
    );
    let notifier = supervisor.notifier();
    descriptors.close_unknown(&SOCKETS, notifier);
    let addresses = settings_now.own.listen.as_slice();
    let listeners =
        store::open(&mut descriptors, notifier, "servidor", "listen", addresses, listen_is_given).await?;
    let metrics_listen = settings_now.common.metrics_listen;
    let admin_socket =
        server::open(&mut descriptors, notifier, metrics_listen, metrics_listen_is_given).await?;

    let mut tasks = JoinSet::new();
    let mut serving = Serving::start(listeners, &settings_now, &context, &watchdog)?;
    if let Some(socket) = admin_socket {
        let site =
            site::of(PROGRAM.name, Arc::clone(&context), telemetry, in_force.clone(), supervisor.phase());
        tasks.spawn(server::serve(socket, Arc::new(site)));
    }
    supervisor.ready();
    let until_stop = async {
        supervisor.until_stop(&mut tasks).await?;
        let (delay, patience) = stop_times(&in_force.borrow().own);
        supervisor.announce_stop(delay, patience, &mut tasks).await
    };
    let stop = serving.until_stop(until_stop, in_force.clone()).await;

    let (_, patience) = stop_times(&in_force.borrow().own);
    tracing::info!(connections = context.limit.active(), "draining");
    serving.stop(patience);
    let mut drained = Ok(());
    supervisor.drain(patience, async { drained = serving.ended().await }).await;
    context.log_stopped();
    Ok(Serving::outcome(stop, drained)?)
}

/// How long a stop is announced before it begins, and how long it may take from then on.
fn stop_times(own: &Own) -> (Duration, Duration) {
    (own.stop_delay.get(), own.drain_timeout.get())
}
