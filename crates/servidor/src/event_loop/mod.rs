//! An event loop: one thread that serves many connections. The first one also accepts for the others.
//!
//! It runs outside the runtime, because one task per connection costs more: see ARCHITECTURE.md.

mod acceptor;
mod connections;
mod inbox;
mod lingering;

use std::io;
use std::time::Instant;

use daemon::systemd::watchdog::Heartbeat;

use self::acceptor::Acceptor;
pub(crate) use self::acceptor::Listening;
#[cfg(feature = "simulation")]
pub(crate) use self::connections::Census;
use self::connections::Connections;
pub(crate) use self::inbox::{Handle, Inbox, Message, inbox};
use crate::environment::Environment;
use crate::kernel::{Kernel, Ready};

/// See the module.
pub(crate) struct EventLoop<K: Kernel> {
    connections: Connections<K>,
    inbox: Inbox<K>,
    source: Source<K>,
    ready: Vec<Ready>,
}

/// Where connections come from.
enum Source<K: Kernel> {
    /// From the kernel's queues.
    Acceptor(Acceptor<K>),
    /// From the event loop that accepts.
    Inbox,
    /// No more connections will come: the daemon stops.
    None,
}

impl<K: Kernel> EventLoop<K> {
    /// One of `event_loops`. It gets its connections from its inbox.
    pub(crate) fn new(env: Environment<K>, inbox: Inbox<K>, event_loops: usize) -> Self {
        let connections = Connections::new(env, event_loops);
        Self { connections, inbox, source: Source::Inbox, ready: Vec::new() }
    }

    /// Makes it accept connections from `listeners`, for itself and for `others`.
    pub(crate) fn accept(&mut self, listeners: Vec<Listening<K::Listener>>, others: Vec<Handle<K>>) {
        self.source = Source::Acceptor(Acceptor::new(listeners, others));
        self.settle();
    }

    /// Runs until no connection is left and no more will come. `heartbeat` shows that it still runs.
    ///
    /// # Errors
    ///
    /// If it can no longer wait, or a listener no longer listens.
    pub(crate) fn run(mut self, heartbeat: &Heartbeat) -> io::Result<()> {
        while self.turn(heartbeat.due_after(self.connections.env.now))? {
            heartbeat.beat();
        }
        Ok(())
    }

    /// Waits once, at most until `wake_by`, then handles what is ready and what has expired. Returns whether to go on.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::run`].
    pub(crate) fn turn(&mut self, wake_by: Option<Instant>) -> io::Result<bool> {
        let deadline = [self.next_deadline(), wake_by].into_iter().flatten().min();
        let mut ready = std::mem::take(&mut self.ready);
        self.connections.env.kernel.wait(&mut ready, deadline)?;
        self.connections.env.now = self.connections.env.kernel.now();
        for ready in ready.drain(..) {
            self.act_on(ready)?;
        }
        self.ready = ready;
        self.connections.expire();
        self.settle();
        Ok(!self.is_over())
    }

    fn act_on(&mut self, ready: Ready) -> io::Result<()> {
        match (ready, &mut self.source) {
            (Ready::Connection(key), _) => self.connections.serve(key),
            (Ready::Listener(index), Source::Acceptor(acceptor)) => {
                acceptor.serve(index, &mut self.connections)?;
            }
            (Ready::Listener(_), _) => {}
            (Ready::Waker, _) => {
                self.connections.env.kernel.acknowledge_wake();
                while let Ok(message) = self.inbox.try_recv() {
                    self.receive(message);
                }
            }
        }
        Ok(())
    }

    /// Updates the listeners at the end of a turn.
    fn settle(&mut self) {
        let Source::Acceptor(acceptor) = &mut self.source else { return };
        let Some(drain) = self.connections.env.drain else {
            return acceptor.settle(&mut self.connections);
        };
        if acceptor.drain(drain, &mut self.connections) {
            self.source = Source::None;
        }
    }

    /// When the next turn is due if nothing is ready before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let acceptor = match &self.source {
            Source::Acceptor(acceptor) => acceptor.next_deadline(&self.connections.env),
            Source::Inbox | Source::None => None,
        };
        [self.connections.next_deadline(), acceptor].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        matches!(self.source, Source::None) && self.connections.is_empty()
    }

    /// What it holds.
    #[cfg(feature = "simulation")]
    pub(crate) fn census(&self) -> Census {
        self.connections.census()
    }
}
