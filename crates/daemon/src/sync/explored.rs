//! The types of loom, and how a model is explored.

use loom::model::Builder;
pub use loom::sync::{Condvar, Mutex, MutexGuard, Notify, atomic};
pub use loom::thread;

pub use super::channel::{Receiver, Sender, channel};

/// Overrides how many times a large model may preempt threads.
const VARIABLE: &str = "LOOM_MAX_PREEMPTIONS";
/// A model with more steps than this does not end.
const MOST_STEPS: usize = 10_000;

/// Runs a small model in each possible interleaving.
///
/// # Panics
///
/// If the model does in one of them, or if its threads wait for each other.
pub fn explore_all(model: impl Fn() + Sync + Send + 'static) {
    explore(None, model);
}

/// Runs a large model in each interleaving with few preemptions, which find nearly all bugs.
///
/// # Panics
///
/// As [`explore_all`].
pub fn explore_most(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let given = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    explore(Some(given.unwrap_or(preemptions)), model);
}

fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = MOST_STEPS;
    let counted = std::sync::Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    assert!(runs > 1, "the threads of this model have nothing in common");
    println!("{runs} interleavings");
}
