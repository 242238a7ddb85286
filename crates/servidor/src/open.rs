//! A connection's entry in the books: counted and logged at its begin, and once at its end, however it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::context::Context;
use crate::events::Peer;
use crate::metrics::Reason;
use crate::places::Place;

/// A connection that is being served, until it is dropped.
pub struct Open {
    /// What it shares with all others.
    pub context: Arc<Context>,
    /// Who is at the other end.
    pub peer: Peer,
    /// How many requests have been answered.
    pub requests: u64,
    /// Why it ends. Without a reason it was cut short, by the end of the runtime.
    pub reason: Option<Reason>,
    /// When it began.
    pub since: Instant,
    _place: Place,
}

impl Open {
    /// Takes a place, gives the connection its number, and tells of it.
    pub fn begin(context: Arc<Context>, address: SocketAddr) -> Self {
        let place = context.places.take();
        let peer = Peer { connection: context.number_connection(), address };
        context.metrics.connection_served();
        context.events.connection_established(peer);
        Self { context, peer, requests: 0, reason: None, since: Instant::now(), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let reason = self.reason.unwrap_or(Reason::Forced);
        self.context.metrics.connection_closed(reason);
        self.context.events.connection_closed(self.peer, reason, self.requests, self.since.elapsed());
    }
}
