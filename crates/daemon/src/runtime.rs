//! The tokio runtime that a daemon runs in.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long the end waits for tasks that are cancelled. A name look-up that hangs is not waited for.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

/// Why a daemon could not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Its threads or files cannot be created.
    #[error("the runtime cannot be started")]
    Start(#[source] io::Error),
    /// A bug of this program.
    #[error("the daemon's own task panicked")]
    Panicked,
}

/// Runs `daemon` to its end on this many threads.
///
/// # Errors
///
/// If the runtime cannot be started, if `daemon` panics, or if it fails.
pub fn run<T, E: From<RuntimeError>>(
    threads: usize,
    daemon: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut builder = match threads {
        // A single thread needs no work stealing.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(RuntimeError::Start)?;
    // The panic hook has logged the panic. Here it is a failed run like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(daemon)));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    outcome.unwrap_or_else(|_| Err(RuntimeError::Panicked.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run() {
        let panicked = run::<(), RuntimeError>(1, async { panic!("a bug of this program") });
        assert!(matches!(panicked, Err(RuntimeError::Panicked)));
        let returned = run::<_, RuntimeError>(1, async { Ok(7) });
        assert!(returned.is_ok_and(|seven| seven == 7));
    }
}
