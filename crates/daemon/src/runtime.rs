//! The runtime that a daemon runs in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// For tasks that are cut short at the end to say so; a name look-up that hangs is not waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs `daemon` to its end on so many threads.
///
/// # Errors
///
/// If threads cannot be had, if `daemon` panics, or what it says.
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
    // What has told of a panic is the log: here it is a failed run like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(daemon)));
    runtime.shutdown_timeout(LAST_WORDS);
    outcome.unwrap_or_else(|_| Err(anyhow!("the daemon's own task panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run() {
        let outcome: anyhow::Result<()> = run(1, async { panic!("a fault of this program") });
        assert!(outcome.is_err());
        assert!(run(1, async { Ok(7) }).is_ok_and(|seven| seven == 7));
    }
}
