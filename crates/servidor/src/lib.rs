//! The server: `accept → event_loop → connection → protocol → connection`.
//!
//! Follow one number: [`accept`] lets its connection in, [`event_loop`] knows when there is something to read,
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
use std::sync::Arc;

use daemon::listener::Listener;
use daemon::notify::Watchdog;
use tokio::sync::watch;
use tokio::task::JoinSet;

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
/// If there is no room for the event loops' files.
///
/// # Panics
///
/// What is returned panics with a fault of an event loop, as opposed to one of a connection.
pub fn run(
    listeners: Vec<Listener>,
    mut settings: watch::Receiver<Arc<Settings>>,
    context: Arc<Context>,
    watchdog: &Watchdog,
) -> io::Result<impl Future<Output = ()> + use<>> {
    for Listener { address, inherited, .. } in &listeners {
        let max_connections = context.places.limit();
        tracing::info!(%address, max_connections, inherited, "listening");
    }
    let mut threads = JoinSet::new();
    let mut start = |event_loop: EventLoop| {
        let pulse = watchdog.pulse();
        threads.spawn_blocking(move || event_loop.run(&pulse));
    };
    let mut entrances = Vec::new();
    for _ in 1..settings.borrow().common.worker_threads.get() {
        let (entrance, event_loop) = EventLoop::new()?;
        entrances.push(entrance);
        start(event_loop);
    }
    let poller = Arc::new(Poller::new()?);
    let watched = Arc::clone(&poller);
    let reception = Reception::new(watched, listeners, settings.clone(), Arc::clone(&context), entrances)?;
    let event_loop = EventLoop::with_reception(poller, reception)?;
    let bell = event_loop.bell();
    context.places.ring_when_free(bell.clone());
    start(event_loop);

    let not_closed_before_its_end = context.tasks.token();
    Ok(async move {
        let _not_closed_before_its_end = not_closed_before_its_end;
        let tell_of_the_stop = async {
            context.stop.begun().await;
            bell.ring();
        };
        let tell_of_new_settings = async {
            while settings.changed().await.is_ok() {
                bell.ring();
            }
        };
        let serve = async {
            while let Some(ended) = threads.join_next().await {
                ended.expect("no fault").expect("epoll works");
            }
        };
        let tell = async { tokio::join!(tell_of_the_stop, tell_of_new_settings) };
        let tell_for_ever = async {
            tell.await;
            std::future::pending::<()>().await;
        };
        tokio::select! { () = serve => {}, () = tell_for_ever => {} }
    })
}
