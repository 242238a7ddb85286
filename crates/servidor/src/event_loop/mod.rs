//! An event loop: one thread that serves many connections. The first one also accepts for all.
//!
//! It is a thread beside the runtime, since a task of the runtime for each connection costs more: see ARCHITECTURE.md.

mod acceptor;
mod inbox;
mod lingering;
mod table;

use std::io;
use std::time::Instant;

use daemon::notify::Pulse;

use self::acceptor::Acceptor;
pub(crate) use self::acceptor::Listening;
pub(crate) use self::inbox::{Handle, Inbox, Message, inbox};
use self::table::Table;
use crate::environment::Environment;
use crate::kernel::{Kernel, Ready};

/// See the module.
pub(crate) struct EventLoop<K: Kernel> {
    env: Environment<K>,
    table: Table<K>,
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
    /// From nowhere any more: the daemon stops.
    None,
}

impl<K: Kernel> EventLoop<K> {
    /// The event loop that accepts, for itself and for `others`.
    ///
    /// # Errors
    ///
    /// If a listener cannot be watched.
    pub(crate) fn accepting(
        env: Environment<K>,
        inbox: Inbox<K>,
        listeners: Vec<Listening<K::Listener>>,
        others: Vec<Handle<K>>,
    ) -> io::Result<Self> {
        let event_loops = 1 + others.len();
        let acceptor = Acceptor::new(listeners, others);
        let mut event_loop = Self::new(env, inbox, event_loops, Source::Acceptor(acceptor));
        event_loop.settle()?;
        Ok(event_loop)
    }

    /// One of `event_loops`, which finds its connections in its inbox.
    pub(crate) fn receiving(env: Environment<K>, inbox: Inbox<K>, event_loops: usize) -> Self {
        Self::new(env, inbox, event_loops, Source::Inbox)
    }

    fn new(env: Environment<K>, inbox: Inbox<K>, event_loops: usize, source: Source<K>) -> Self {
        let table = Table::new(env.event_loop, event_loops);
        Self { env, table, inbox, source, ready: Vec::new() }
    }

    /// Runs until no connection is left and none will come. `pulse` shows that it goes on.
    ///
    /// # Errors
    ///
    /// If the kernel does not let it wait or accept any more.
    pub(crate) fn run(mut self, pulse: &Pulse) -> io::Result<()> {
        while self.turn(pulse.due_after(self.env.now))? {
            pulse.beat();
        }
        Ok(())
    }

    /// Waits once, at most until `wake_by`, and acts on what is ready and what has expired. Returns whether to go on.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::run`].
    pub(crate) fn turn(&mut self, wake_by: Option<Instant>) -> io::Result<bool> {
        let deadline = [self.next_deadline(), wake_by].into_iter().flatten().min();
        let mut ready = std::mem::take(&mut self.ready);
        self.env.kernel.wait(&mut ready, deadline)?;
        self.env.now = self.env.kernel.now();
        for ready in ready.drain(..) {
            self.act_on(ready)?;
        }
        self.ready = ready;
        self.table.expire(&mut self.env);
        self.settle()?;
        Ok(!self.is_over())
    }

    fn act_on(&mut self, ready: Ready) -> io::Result<()> {
        match (ready, &mut self.source) {
            (Ready::Connection(key), _) => self.table.serve(key, &mut self.env),
            (Ready::Listener(index), Source::Acceptor(acceptor)) => {
                acceptor.serve(index, &mut self.table, &mut self.env)?;
            }
            (Ready::Listener(_), _) => {}
            (Ready::Waker, _) => {
                self.env.kernel.acknowledge_wake();
                while let Some(message) = self.inbox.next() {
                    self.receive(message);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: Message<K>) {
        match message {
            Message::Connection(connection) => self.table.add(connection, &mut self.env),
            Message::LastConnection => self.source = Source::None,
            Message::Settings(settings) => {
                self.env.settings = settings;
                self.table.apply_settings(&mut self.env);
            }
            Message::Stop(drain) => {
                #[cfg(feature = "simulation")]
                crate::fail_point::reached("drain", self.env.event_loop);
                self.env.drain = Some(drain);
                self.table.drain(&mut self.env);
            }
        }
    }

    /// Sees to the listeners at the end of a turn.
    fn settle(&mut self) -> io::Result<()> {
        let Source::Acceptor(acceptor) = &mut self.source else { return Ok(()) };
        match self.env.drain {
            None => acceptor.settle(&mut self.table, &mut self.env)?,
            Some(drain) => {
                if acceptor.drain(drain, &mut self.table, &mut self.env) {
                    self.source = Source::None;
                }
            }
        }
        Ok(())
    }

    /// When to act, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let acceptor = match &self.source {
            Source::Acceptor(acceptor) => acceptor.next_deadline(self.env.drain),
            Source::Inbox | Source::None => None,
        };
        [self.table.next_deadline(), acceptor].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        matches!(self.source, Source::None) && self.table.is_empty()
    }

    /// What it holds.
    #[cfg(feature = "simulation")]
    pub(crate) fn census(&self) -> table::Census {
        self.table.census()
    }
}
