//! Asks, checks the answer and measures the round trip, for each target at a fixed rate.
//!
//! A round takes its way through the modules in this order:
//!
//! ```text
//! schedule ──► draw ──► round ──► books ──► metrics, totals, log, report
//!  when?      what?    asked,      what became of it
//!                      judged
//! ```
//!
//! [`run`] keeps one probe a target; everything it depends on is passed in.

pub mod bench;
mod books;
pub mod draw;
pub mod failure;
pub mod history;
mod metrics;
mod page;
mod probe;
pub mod report;
pub mod round;
pub mod schedule;
pub mod settings;
pub mod target;
pub mod totals;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::sync::Arc;

use daemon::systemd::watchdog::Watchdog;
use thiserror::Error;
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use books::Event;
use probe::{Shared, probe};
use report::Report;
use settings::Settings;
use target::Target;
use totals::Totals;

/// What a run depends on.
pub struct Inputs<'a, W> {
    /// Followed while running.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Cancelled when no round is to begin any more.
    pub stop: CancellationToken,
    /// Cancelled by the run, when its first round begins.
    pub started: CancellationToken,
    /// Counted by the run.
    pub totals: Arc<Totals>,
    /// Each schedule has a heart.
    pub watchdog: Watchdog,
    /// How many rounds each target gets, and where they are told; without it there is no end of them.
    pub limited: Option<(u64, &'a mut Report<W>)>,
}

/// Why a run could not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The report's reader is gone, or its disk is full.
    #[error("cannot write to standard output")]
    Report(#[from] io::Error),
    /// A fault of this program: better no daemon than one that asks nobody and looks alive.
    #[error("the schedule of a target failed")]
    Panic(#[from] JoinError),
}

/// Registers every series of `targets`, so that all are there at the first scrape, which may come before the first round.
pub fn register_series(targets: &[Target]) {
    for target in targets {
        metrics::Metrics::register(target);
    }
}

/// Makes rounds until the stop, or the last of a limited number. A round under way at the stop is finished; who
/// cannot wait drops this, which cuts it short.
///
/// # Errors
///
/// If the report cannot be written, or a schedule panicked.
pub async fn run<W: Write>(inputs: Inputs<'_, W>) -> Result<(), RunError> {
    let Inputs { mut settings, stop, started, totals, watchdog, limited } = inputs;
    let (count, mut report) = limited.unzip();
    let (sender, mut events) = mpsc::unbounded_channel();
    let events_to = report.is_some().then_some(sender);
    let shared = Shared { settings: settings.clone(), stop, started, totals, events_to, count };
    let mut probes = Probes { shared, watchdog, dismissals: HashMap::new(), tasks: JoinSet::new() };
    let mut print = |(target, event): (Target, Event)| {
        report.as_mut().map_or(Ok(()), |report| event.print(report, &target))
    };

    probes.follow(settings.borrow_and_update().own.target.as_slice());
    while !probes.tasks.is_empty() {
        select! {
            biased;
            Some(event) = events.recv() => print(event)?,
            Some(ended) = probes.tasks.join_next() => ended?,
            Ok(()) = settings.changed() => probes.follow(settings.borrow_and_update().own.target.as_slice()),
        }
    }
    while let Ok(event) = events.try_recv() {
        print(event)?;
    }
    Ok(())
}

/// The probes that are at work.
struct Probes {
    shared: Shared,
    watchdog: Watchdog,
    /// How each target that is to be asked can be given up.
    dismissals: HashMap<Target, CancellationToken>,
    tasks: JoinSet<()>,
}

impl Probes {
    /// Asks `targets` and no others. One that is given up may finish its round.
    fn follow(&mut self, targets: &[Target]) {
        self.dismissals.retain(|target, dismissal| {
            let stays = targets.contains(target);
            if !stays {
                dismissal.cancel();
            }
            stays
        });
        for target in targets {
            if let Entry::Vacant(place) = self.dismissals.entry(target.clone()) {
                let dismissal = place.insert(self.shared.stop.child_token()).clone();
                let heartbeat = self.watchdog.heartbeat();
                let probe = probe(target.clone(), self.shared.clone(), dismissal);
                self.tasks.spawn(async move {
                    // Beside all that a probe waits for: a slow round is no stall.
                    select! {
                        () = probe => {}
                        () = heartbeat.keep_beating() => {}
                    }
                });
            }
        }
    }
}
