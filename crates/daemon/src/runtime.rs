//! The runtime that a daemon runs in.

use std::time::Duration;

use anyhow::Context as _;

/// For tasks that are cut short at the end to say so; a name look-up that hangs is not waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs `daemon` to its end on so many threads.
///
/// # Errors
///
/// If threads cannot be had, or what `daemon` says.
pub fn run<T>(threads: usize, daemon: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = match threads {
        // One thread has nobody to share its work with, and then sharing need not be prepared for.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let outcome = runtime.block_on(daemon);
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}
