//! The server: `accept → connection → protocol → connection`.
//!
//! Follow one number: [`accept`] lets its connection in, [`connection`] reads it, `protocol` judges it, and
//! [`connection`] writes the reply. What is counted and logged on the way stands in [`metrics`] and [`events`].

pub mod accept;
pub mod connection;
pub mod context;
pub mod events;
pub mod exchange;
pub mod linger;
pub mod metrics;
mod page;
pub mod places;
pub mod settings;
pub mod stop;
mod wind_up;

use std::sync::Arc;

use daemon::notify::Heartbeat;
use tokio::sync::watch;

use crate::accept::Acceptor;
use crate::context::Context;
use crate::settings::Settings;
use daemon::listener::Listener;

/// Serves until `context`'s stop begins; then sees to what waits in the listeners' queues, and returns.
///
/// Connections go on in `context`'s tasks: wait for those with [`Context::all_closed`].
pub async fn run(
    listeners: Vec<Listener>,
    settings: watch::Receiver<Arc<Settings>>,
    context: Arc<Context>,
    heartbeat: Heartbeat,
) {
    let _not_closed_before_its_end = context.tasks.token();
    for Listener { address, inherited, .. } in &listeners {
        let max_connections = context.places.limit();
        tracing::info!(%address, max_connections, inherited, "listening");
    }
    Acceptor::new(listeners, settings, context).run(heartbeat).await;
}
