//! Which servers are probed: one probe per target, following the settings.

pub mod target;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::target::Target;
use crate::probe::{Context, probe};

/// The probes that run.
pub(crate) struct Probes {
    context: Context,
    /// What ends the probe of each target.
    ends: HashMap<Target, CancellationToken>,
    tasks: JoinSet<()>,
}

impl Probes {
    /// None yet.
    pub(crate) fn new(context: Context) -> Self {
        Self { context, ends: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Probes `targets` and no others. A probe that ends may finish its round.
    pub(crate) fn follow(&mut self, targets: &[Target]) {
        self.ends.retain(|target, end| {
            let stays = targets.contains(target);
            if !stays {
                end.cancel();
            }
            stays
        });
        for target in targets {
            if let Entry::Vacant(entry) = self.ends.entry(target.clone()) {
                let end = entry.insert(self.context.stop.child_token()).clone();
                self.tasks.spawn(probe(target.clone(), self.context.clone(), end));
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
