//! The series of all targets: which there are, and for how long they stay once their target is gone.
//!
//! Each target counts for itself, as each event loop of `servidor` does, and the counts are rendered on request.

mod exposition;
mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use daemon::clock::WallClock;
use daemon::metrics::histogram::Bounds;
use daemon::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use daemon::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use self::exposition::{Shown, write};
use self::target::Group;
pub(crate) use self::target::TargetMetrics;
use crate::settings::Detail;
use crate::targets::labels::Labelled;

/// How long the series of a target stay after the target is gone: the next scrapes still read the last counts.
const LINGER: Duration = Duration::from_mins(4);

/// What all targets count.
#[derive(Debug)]
pub struct Metrics {
    detail: Detail,
    bounds: Arc<Bounds>,
    clock: WallClock,
    state: Mutex<State>,
    /// How long the text was at the last scrape.
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// By the labels of the series.
    targets: BTreeMap<String, Entry>,
    /// By their labels.
    groups: BTreeMap<String, Weak<Group>>,
}

#[derive(Debug)]
struct Entry {
    metrics: Arc<TargetMetrics>,
    gone_since: Option<Instant>,
}

impl Metrics {
    /// Those of no target. The histograms have buckets with these bounds.
    pub fn new(detail: Detail, bounds: Bounds) -> Self {
        let (bounds, state, length) = (Arc::new(bounds), Mutex::default(), AtomicUsize::new(0));
        Self { detail, bounds, clock: WallClock::new(), state, length }
    }

    /// Has series for `targets` from now on; those of all others are gone. A target that comes back in time finds its counts as
    /// they were. Returns the counts of each, in the order of `targets`.
    pub(crate) fn follow(&self, targets: &[Labelled]) -> Vec<Arc<TargetMetrics>> {
        let now = Instant::now();
        let mut state = self.state();
        for entry in state.targets.values_mut() {
            entry.gone_since.get_or_insert(now);
        }
        let followed = targets.iter().map(|target| self.follow_one(&mut state, target)).collect();
        state.forget(now);
        followed
    }

    fn follow_one(&self, state: &mut State, Labelled { target, labels }: &Labelled) -> Arc<TargetMetrics> {
        let shared = labels.to_string();
        let separator = if shared.is_empty() { "" } else { "," };
        let labels = format!("server=\"{target}\"{separator}{shared}");
        if let Some(entry) = state.targets.get_mut(&labels) {
            entry.gone_since = None;
            return Arc::clone(&entry.metrics);
        }
        let group = (self.detail == Detail::Compact).then(|| state.group(shared));
        let (address, bounds) = (target.address(), Arc::clone(&self.bounds));
        let metrics = Arc::new(TargetMetrics::new(labels.clone(), address, bounds, group));
        state.targets.insert(labels, Entry { metrics: Arc::clone(&metrics), gone_since: None });
        metrics
    }

    /// Appends all series to `text`.
    pub(crate) fn write(&self, text: &mut String) {
        let mut state = self.state();
        state.forget(Instant::now());
        let shown = |entry: &Entry| Shown {
            metrics: Arc::clone(&entry.metrics),
            is_gone: entry.gone_since.is_some(),
        };
        let targets: Vec<Shown> = state.targets.values().map(shown).collect();
        drop(state);
        let length = self.length.load(Relaxed);
        // Counts grow by a digit now and then.
        text.reserve(length + length / 16);
        write(text, &targets, &self.bounds, self.clock);
        self.length.store(text.len(), Relaxed);
    }

    /// What is counted of `target`, which has no labels.
    #[cfg(feature = "simulation")]
    pub(crate) fn reading(&self, target: &str) -> crate::simulation::oracle::reading::Reading {
        let state = self.state();
        let entry = state.targets.get(&format!("server=\"{target}\""));
        entry.map(|entry| entry.metrics.reading()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn group(&mut self, labels: String) -> Arc<Group> {
        if let Some(group) = self.groups.get(&labels).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(Group::new(labels.clone()));
        self.groups.insert(labels, Arc::downgrade(&group));
        group
    }

    fn forget(&mut self, now: Instant) {
        self.targets.retain(|_, entry| entry.gone_since.is_none_or(|since| now - since < LINGER));
        self.groups.retain(|_, group| group.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests;
