//! The probes that run: one per target, following the settings.

pub mod expand;
pub(crate) mod probe;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::probe::{Context, probe};
use crate::observe::Recorder;
use crate::targets::labels::Labelled;
use crate::targets::target::Target;

/// The probes that run.
pub(crate) struct Probes {
    context: Context,
    running: HashMap<Target, Running>,
    tasks: JoinSet<()>,
    /// Whether the targets of the start are there: only those make the ticks of the start.
    has_started: bool,
}

/// A probe that runs.
struct Running {
    recorder: Arc<Recorder>,
    /// Ends it.
    end: CancellationToken,
}

impl Probes {
    /// None yet.
    pub(crate) fn new(context: Context) -> Self {
        Self { context, running: HashMap::new(), tasks: JoinSet::new(), has_started: false }
    }

    /// Probes `targets` and no others. A probe that ends may finish its round. Other labels change the series of a target, and
    /// nothing about its rounds.
    pub(crate) fn follow(&mut self, targets: &[Labelled]) {
        let names: HashSet<&Target> = targets.iter().map(|labelled| &labelled.target).collect();
        self.running.retain(|target, running| {
            let stays = names.contains(target);
            if !stays {
                running.end.cancel();
            }
            stays
        });
        let has_started = std::mem::replace(&mut self.has_started, true);
        let since = if has_started { Instant::now() } else { self.context.epoch.start() };
        let metrics = self.context.observers.totals.metrics.follow(targets);
        for (Labelled { target, .. }, metrics) in targets.iter().zip(metrics) {
            match self.running.entry(target.clone()) {
                Entry::Occupied(entry) => entry.get().recorder.count_in(metrics),
                Entry::Vacant(entry) => {
                    let recorder = Recorder::new(target.clone(), metrics, self.context.observers.clone());
                    let (recorder, end) = (Arc::new(recorder), self.context.stop.child_token());
                    self.tasks.spawn(probe(Arc::clone(&recorder), self.context.clone(), end.clone(), since));
                    entry.insert(Running { recorder, end });
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for the end of a probe; `None` if there is no probe.
    pub(crate) async fn next_end(&mut self) -> Option<Result<(), JoinError>> {
        self.tasks.join_next().await
    }
}
