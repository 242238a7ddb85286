//! The daemon `servidor`: a checklist; what it does is in the library.

use std::process::ExitCode;
use std::sync::Arc;

use daemon::admin::{self, Phase};
use daemon::logging::Logging;
use daemon::notify::{Inherited, Watchdog};
use daemon::settings::{Start, start};
use daemon::supervisor::{Supervised as _, Supervisor};
use daemon::telemetry::Telemetry;
use daemon::{exit, listener, runtime, site};
use servidor::context::Context;
use servidor::settings::{Own, PROGRAM};
use tokio::sync::watch;
use tokio::task::JoinSet;

fn main() -> ExitCode {
    let start = match start::<Own>(&PROGRAM, std::env::args_os()) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let logging = Arc::new(Logging::start(&start.settings.common));
    // Clients are served by threads of their own; the runtime has all the rest.
    exit::conclude(runtime::run(1, serve(start, Arc::clone(&logging))))
}

async fn serve(Start { settings, source, .. }: Start<Own>, logging: Arc<Logging>) -> anyhow::Result<()> {
    let telemetry = Arc::new(Telemetry::install(PROGRAM.name)?);
    let context = Context::new(&settings);
    context.check(&settings)?;

    let (settings, in_force) = watch::channel(Arc::new(settings));
    let (phase, phase_now) = watch::channel(Phase::Starting);
    let watchdog = Watchdog::from_environment();
    // Signals are taken over first: whoever sees an address in the log may send one.
    let mut supervisor = Supervisor::new(
        Arc::clone(&context),
        source.clone(),
        settings,
        phase,
        logging,
        Arc::clone(&telemetry),
        watchdog.clone(),
    )?;

    let settings = in_force.borrow().clone();
    let given = |name| source.gives::<Own>(name);
    let mut inherited = Inherited::from_environment()?;
    let addresses = settings.own.listen.as_slice();
    let listeners = listener::open(&mut inherited, "servidor", "listen", addresses, given("listen"))?;
    let admin_socket = admin::open(&mut inherited, settings.common.metrics_listen, given("metrics-listen"))?;
    inherited.close_rest();

    let mut tasks = JoinSet::new();
    tasks.spawn(servidor::run(listeners, in_force.clone(), Arc::clone(&context), &watchdog)?);
    if let Some(socket) = admin_socket {
        let context = Arc::clone(&context);
        let site = site::of(PROGRAM.name, context, Arc::clone(&telemetry), in_force.clone(), phase_now);
        tasks.spawn(admin::serve(socket, Arc::new(site)));
    }
    supervisor.ready();
    supervisor.until_stop(&mut tasks).await?;

    let patience = in_force.borrow().own.drain_timeout.get();
    tracing::info!(connections = context.places.active(), "draining");
    context.stop.begin(patience);
    supervisor.drain(patience, context.all_closed()).await;
    context.log_stopped();
    Ok(())
}
