//! The clients of the HTTP side: limits on their number and their time.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::select;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

/// How many clients may be connected at the same time.
const MAX_CLIENTS: usize = 32;
/// How long a client may take to send its request before a newer one can replace it.
const TIME_TO_ASK: Duration = Duration::from_millis(10);
/// For the head of the request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole exchange. A client that does not read its answer is disconnected then.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// The last part of both timeouts, which starts when the rest has passed. If the process was suspended meanwhile, it still
/// reads what arrived.
const LAST_TURN: Duration = Duration::from_millis(100);

/// The clients that are connected.
#[derive(Debug, Default)]
pub(super) struct Clients {
    tasks: JoinSet<()>,
    /// In order of arrival.
    clients: VecDeque<Client>,
}

#[derive(Debug)]
struct Client {
    task: AbortHandle,
    since: Instant,
    has_asked: HasAsked,
}

/// Whether the head of a client's request has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct HasAsked(Arc<AtomicBool>);

impl HasAsked {
    /// The head has been read.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clients {
    /// Waits until there is room for one more. Clients that have not sent their request are replaced first, the oldest of
    /// them before the others.
    pub(super) async fn make_room(&mut self) {
        loop {
            // Let the tasks read what has arrived: it shows who has sent a request.
            yield_now().await;
            while self.tasks.try_join_next().is_some() {}
            self.clients.retain(|client| !client.task.is_finished());
            if self.clients.len() < MAX_CLIENTS {
                return;
            }
            let silent = self.clients.iter().position(|client| !client.has_asked.get());
            let leaving = silent.unwrap_or(0);
            let leaves_at = self.clients[leaving].since + TIME_TO_ASK;
            if leaves_at <= Instant::now() {
                if let Some(client) = self.clients.remove(leaving) {
                    client.task.abort();
                }
                return;
            }
            select! {
                _ = self.tasks.join_next() => {}
                () = sleep_until(leaves_at) => {}
            }
        }
    }

    /// Adds a client. `exchange` reads one request and answers it.
    pub(super) fn add(&mut self, has_asked: HasAsked, exchange: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(within_its_time(has_asked.clone(), exchange));
        self.clients.push_back(Client { task, since: Instant::now(), has_asked });
    }
}

/// Ends an exchange that takes too long.
async fn within_its_time(has_asked: HasAsked, exchange: impl Future<Output = ()>) {
    let mut exchange = pin!(exchange);
    select! {
        biased;
        () = &mut exchange => return,
        () = pass(HEAD_TIMEOUT) => {}
    }
    if has_asked.get() {
        select! {
            biased;
            () = exchange => {}
            () = pass(EXCHANGE_TIMEOUT.saturating_sub(HEAD_TIMEOUT)) => {}
        }
    }
}

/// Waits until `time` has passed, in two parts, so that the runtime polls its sockets before the end.
async fn pass(time: Duration) {
    sleep(time.saturating_sub(LAST_TURN)).await;
    sleep(LAST_TURN).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Adds a client that never gets its answer.
    async fn add(clients: &mut Clients, asks: bool) -> AbortHandle {
        clients.make_room().await;
        let has_asked = HasAsked::default();
        if asks {
            has_asked.set();
        }
        clients.add(has_asked, pending());
        clients.clients.back().expect("it was just added").task.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_have_not_asked_are_replaced_first() {
        let mut clients = Clients::default();
        let asking = add(&mut clients, true).await;
        let mut silent = Vec::new();
        for _ in 1..MAX_CLIENTS {
            silent.push(add(&mut clients, false).await);
        }
        let newer = add(&mut clients, true).await;
        yield_now().await;
        assert!(
            silent[0].is_finished() && !silent[1].is_finished(),
            "the oldest of the silent ones is replaced"
        );
        assert!(!asking.is_finished() && !newer.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_have_asked_the_oldest_is_replaced() {
        let mut clients = Clients::default();
        let mut asking = Vec::new();
        for _ in 0..=MAX_CLIENTS {
            asking.push(add(&mut clients, true).await);
        }
        yield_now().await;
        let left: Vec<bool> = asking.iter().map(AbortHandle::is_finished).collect();
        assert!(left[0] && !left[1..].contains(&true), "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_time_to_ask_and_more_time_for_its_answer() {
        for (asks, seconds) in [(false, 5), (true, 15)] {
            let begun = Instant::now();
            let has_asked = HasAsked::default();
            if asks {
                has_asked.set();
            }
            within_its_time(has_asked, pending()).await;
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_its_answer_is_disconnected_in_the_end() {
        let mut clients = Clients::default();
        let client = add(&mut clients, true).await;
        sleep(EXCHANGE_TIMEOUT.saturating_sub(LAST_TURN)).await;
        assert!(!client.is_finished());
        sleep(2 * LAST_TURN).await;
        assert!(client.is_finished());
    }
}
