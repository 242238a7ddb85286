//! The server: `accept → event_loop → connection → protocol → connection`.
//!
//! Follow one number: `accept` lets its connection in, `event_loop` knows when there is something to read,
//! [`connection`] reads it, `protocol` judges it, and [`connection`] writes the reply. What is counted and logged on the
//! way stands in [`metrics`] and [`events`].

mod accept;
pub mod bell;
pub mod connection;
mod connections;
pub mod context;
mod event_loop;
pub mod events;
pub mod exchange;
mod linger;
pub mod metrics;
pub mod open;
mod page;
pub mod places;
pub mod poller;
pub mod settings;
mod socket;
pub mod stop;
mod wind_up;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use daemon::listener::Listener;
use daemon::notify::Watchdog;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::accept::Reception;
use crate::context::Context;
use crate::event_loop::EventLoop;
use crate::poller::Poller;
use crate::settings::Settings;

/// Serves on threads of its own, as many as `worker-threads`, until `context`'s stop begins; then sees to what waits in
/// the listeners' queues. What is returned ends with the last connection.
///
/// # Errors
///
/// If there is no room for the event loops' files or threads.
///
/// # Panics
///
/// Outside a runtime. What is returned panics with a fault of an event loop, as opposed to one of a connection.
pub fn run(
    listeners: Vec<Listener>,
    mut settings: watch::Receiver<Arc<Settings>>,
    context: Arc<Context>,
    watchdog: &Watchdog,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let addresses: Vec<_> = listeners.iter().map(|listener| (listener.address, listener.inherited)).collect();
    let (ending, mut ended) = unbounded_channel();
    let mut entrances = Vec::new();
    for _ in 1..settings.borrow().common.worker_threads.get() {
        let (entrance, event_loop) = EventLoop::new()?;
        entrances.push(entrance);
        let pulse = watchdog.pulse();
        start(move || event_loop.run(&pulse), ending.clone())?;
    }
    let poller = Arc::new(Poller::new()?);
    let watched = Arc::clone(&poller);
    let reception = Reception::new(watched, listeners, settings.clone(), Arc::clone(&context), entrances)?;
    let event_loop = EventLoop::with_reception(poller, reception)?;
    let bell = event_loop.bell();
    context.places.ring_when_free(bell.clone());
    let pulse = watchdog.pulse();
    start(move || event_loop.run(&pulse), ending)?;
    for (address, inherited) in addresses {
        let max_connections = context.places.limit();
        tracing::info!(%address, max_connections, inherited, "listening");
    }

    let not_closed_before_its_end = context.tasks.token();
    Ok(async move {
        let _not_closed_before_its_end = not_closed_before_its_end;
        let mut stop = pin!(context.stop.begun());
        let mut is_stopping = false;
        loop {
            tokio::select! {
                outcome = ended.recv() => match outcome {
                    Some(outcome) => outcome.expect("no fault").expect("epoll works"),
                    None => break,
                },
                Ok(()) = settings.changed() => bell.ring(),
                _ = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    bell.ring();
                }
            }
        }
    })
}

/// Runs an event loop on a thread of its own, which tells by `ending` how it ended.
fn start(
    event_loop: impl FnOnce() -> io::Result<()> + Send + 'static,
    ending: UnboundedSender<thread::Result<io::Result<()>>>,
) -> io::Result<()> {
    // Lingering sockets are the runtime's.
    let runtime = Handle::current();
    thread::Builder::new().name("event loop".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        let outcome = catch_unwind(AssertUnwindSafe(event_loop));
        // Nobody listens any more if another one has ended the daemon.
        let _ = ending.send(outcome);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_an_event_loop_is_told_as_well_as_its_end() {
        for panics in [true, false] {
            let (ending, mut ended) = unbounded_channel();
            let event_loop = move || {
                assert!(!panics, "a fault of this program");
                Ok(())
            };
            start(event_loop, ending).expect("a thread");
            let outcome = ended.recv().await.expect("it tells of its end");
            assert_eq!(outcome.is_err(), panics);
            assert!(ended.recv().await.is_none(), "nobody else has a part in the channel");
        }
    }
}
