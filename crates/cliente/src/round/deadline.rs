//! A time limit that is enforced only after the kernel has been asked once more.

use std::time::Duration;

use tokio::select;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// How often the runtime asks the kernel between the deadline and its enforcement. One turn takes in the events of sockets, the
/// next runs the tasks that these events wake: those of the resolver wake each other, so there are more than enough.
const TURNS: usize = 12;

/// The time is up, and nothing had arrived until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for `work`, at most for `limit`.
///
/// While a process does not run, replies arrive and deadlines pass. When it runs again, tokio may see the timer before the socket:
/// `epoll_wait` is interrupted by SIGCONT, and returns no events. So the deadline is enforced after another look at all sockets.
///
/// # Errors
///
/// [`Elapsed`] if `work` has not ended by then.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let deadline = Instant::now() + limit;
    let expiry = async {
        sleep_until(deadline).await;
        // In a task of its own: a yield of this one would end at once when something else wakes this task meanwhile.
        let turns = tokio::spawn(async {
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
        // It is over, or the runtime is.
        let _ = turns.await;
    };
    select! {
        biased;
        output = work => Ok(output),
        () = expiry => Err(Elapsed),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Poll;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_time_has_its_output() {
        assert_eq!(within(LIMIT, async { 7 }).await, Ok(7));
        assert_eq!(within(LIMIT, async { sleep(LIMIT).await }).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_kernel_is_asked_once_more_however_often_the_task_is_woken() {
        let is_seen = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&is_seen);
        let work = async {
            sleep(LIMIT).await;
            tokio::spawn(async move {
                yield_now().await;
                sees.store(true, Relaxed);
            });
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if is_seen.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        assert_eq!(within(LIMIT, work).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_given_up_at_its_limit() {
        let begun = Instant::now();
        assert_eq!(within(LIMIT, pending::<()>()).await, Err(Elapsed));
        assert_eq!(begun.elapsed(), LIMIT);
    }
}
