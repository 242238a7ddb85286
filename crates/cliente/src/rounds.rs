//! The thread that makes the rounds. Nothing else runs there, so that no scrape, page or log line delays a round.

use std::io;
use std::sync::Arc;
use std::thread;

use daemon::systemd::watchdog::Watchdog;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::control::{control, start_answering};
use crate::observe::report::Report;
use crate::observe::totals::Totals;
use crate::observe::{Observers, schedule_delay};
use crate::probes::Probes;
use crate::probes::expand::Expansion;
use crate::probes::probe::Context;
use crate::resolve::Resolver;
use crate::schedule::Epoch;
use crate::settings::Settings;
use crate::stall::StallMeter;

/// How many events of sockets the thread takes from the kernel at once. After a stall all targets' replies may be there, and
/// each must be seen before its deadline is enforced.
const MAX_EVENTS: usize = 16_384;

/// What rounds depend on.
pub struct Inputs {
    /// Followed while running.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Cancelled when no round may begin any more.
    pub stop: CancellationToken,
    /// Cancelled by the rounds, when the first one begins.
    pub started: CancellationToken,
    /// Counted by the rounds.
    pub totals: Arc<Totals>,
    /// Watches over the thread.
    pub watchdog: Watchdog,
    /// How many rounds each target gets, and where they are printed; without it there is no end of them.
    pub limited: Option<(u64, Arc<Report>)>,
}

/// Why rounds could not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The report's reader is gone, or its disk is full.
    #[error("cannot write to standard output")]
    Report(#[source] io::Error),
    /// The system lacks something for the thread.
    #[error("cannot start the thread of the rounds")]
    Start(#[source] io::Error),
    /// Nobody answers the control rounds any more: a bug.
    #[error("control rounds cannot be answered")]
    Answering(#[source] io::Error),
    /// A bug: better no daemon than one that probes nothing and looks alive.
    #[error("the probe of a target failed")]
    Probe(#[from] JoinError),
    /// A bug, as above.
    #[error("the thread of the rounds panicked")]
    Thread,
}

/// The running thread.
#[derive(Debug)]
pub struct Rounds {
    ended: oneshot::Receiver<Result<(), RunError>>,
    cut: CancellationToken,
}

impl Rounds {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If there is no thread.
    pub fn start(inputs: Inputs) -> Result<Self, RunError> {
        let (sender, ended) = oneshot::channel();
        let cut = CancellationToken::new();
        let until_cut = cut.clone();
        let rounds = move || {
            let result = block_on(inputs, &until_cut);
            // Who does not wait for it does not want to know.
            let _ = sender.send(result);
        };
        thread::Builder::new().name("rounds".to_owned()).spawn(rounds).map_err(RunError::Start)?;
        Ok(Self { ended, cut })
    }

    /// Waits for the end: after the stop, or the last of a limited number. A round under way at the stop is finished.
    ///
    /// # Errors
    ///
    /// If the rounds could not go on.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        (&mut self.ended).await.unwrap_or(Err(RunError::Thread))
    }

    /// Cuts short the rounds that are under way.
    ///
    /// # Errors
    ///
    /// If the rounds could not go on.
    pub async fn cut(mut self) -> Result<(), RunError> {
        self.cut.cancel();
        self.ended().await
    }
}

fn block_on(inputs: Inputs, cut: &CancellationToken) -> Result<(), RunError> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_io_events_per_tick(MAX_EVENTS).build().map_err(RunError::Start)?;
    runtime.block_on(until_cut(inputs, cut))
}

/// Makes rounds until their end, or until they are cut short.
pub(crate) async fn until_cut(inputs: Inputs, cut: &CancellationToken) -> Result<(), RunError> {
    select! {
        biased;
        ended = run(inputs) => ended,
        () = cut.cancelled() => Ok(()),
    }
}

async fn run(inputs: Inputs) -> Result<(), RunError> {
    let Inputs { mut settings, stop, started, totals, watchdog, limited } = inputs;
    let (count, report) = limited.unzip();
    let stalls = StallMeter::new().map_err(RunError::Start)?;
    let resolver = Resolver::of_this_host();
    let own_host = totals.own_host.clone();
    let observers = Observers { totals, started, report, own_host, schedule_delay: schedule_delay() };
    let mut own = settings.borrow_and_update().own.clone();
    let targets = own.choose(own.targets());
    let names = targets.iter().map(|labelled| labelled.target.as_str());
    let epoch = Epoch::at_first_of(names, Instant::now(), own.interval.get());
    let context = Context {
        settings: settings.clone(),
        stop: stop.clone(),
        epoch,
        stalls: stalls.clone(),
        resolver: resolver.clone(),
        observers,
        count,
    };
    let mut control_rounds = tokio::task::JoinSet::new();
    let mut answering = None;
    if count.is_none() {
        let (address, ended) = start_answering().map_err(RunError::Start)?;
        answering = ended;
        control_rounds.spawn(control(address, context.clone()));
    }
    let heartbeat = watchdog.heartbeat();
    let mut probes = Probes::new(context);
    let mut expansion = Expansion::new(resolver);
    expansion.follow(&own);
    probes.follow(&own.choose(expansion.targets()));
    let ended = async {
        loop {
            select! {
                biased;
                Some(ended) = probes.next_end() => ended?,
                Ok(()) = settings.changed() => {
                    own = settings.borrow_and_update().own.clone();
                    expansion.follow(&own);
                    probes.follow(&own.choose(expansion.targets()));
                }
                () = expansion.changed() => probes.follow(&own.choose(expansion.targets())),
                Some(ended) = control_rounds.join_next() => ended?,
                else => return Ok(()),
            }
            let is_limited = count.is_some() && !expansion.is_waiting();
            if probes.is_empty() && (is_limited || stop.is_cancelled()) {
                return Ok(());
            }
        }
    };
    select! {
        biased;
        ended = ended => ended,
        () = heartbeat.keep_beating() => Ok(()),
        error = no_answers(answering) => Err(error),
        failed = stalls.run() => failed.map_err(RunError::Start),
    }
}

/// Waits until control rounds are not answered any more, if they were.
async fn no_answers(answering: Option<oneshot::Receiver<io::Error>>) -> RunError {
    match answering {
        Some(ended) => ended.await.map_or(RunError::Thread, RunError::Answering),
        None => std::future::pending().await,
    }
}
