//! The connections of one event loop: added, served, expired and closed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use reactor::Deadlines;
use slab::Slab;

use super::lingering::{FEW_REQUESTS, Fate, Lingering, MAX_LINGERING, is_undelivered};
use crate::connection::{Connection, Next, send_some};
use crate::environment::Environment;
use crate::kernel::{Errno, Interest, Kernel, Wake as _, retry};
use crate::metrics::CloseReason;

/// How many connections of the process may wait for peers that do not read. Their replies are the largest part of the memory
/// that peers can make the process use: see SECURITY.md.
pub(crate) const MAX_STALLED: usize = 128;

/// See the module.
pub(super) struct Connections<K: Kernel> {
    pub(super) env: Environment<K>,
    entries: Slab<Entry<K>>,
    deadlines: Deadlines,
    /// Keys of connections that wait for their peers to read, in any order.
    stalled: Vec<usize>,
    max_stalled: usize,
    /// Keys of lingering sockets, the oldest first.
    lingering: VecDeque<usize>,
    max_lingering: usize,
}

enum Entry<K: Kernel> {
    Serving(Connection<K>),
    Lingering(Lingering<K>),
}

/// How many connections an event loop has, and what they hold.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) connections: usize,
    pub(crate) lingering: usize,
    pub(crate) stalled: usize,
    pub(crate) held_bytes: usize,
}

impl<K: Kernel> Connections<K> {
    /// No connections. The limits are this event loop's share of those for all `event_loops`.
    pub(super) fn new(env: Environment<K>, event_loops: usize) -> Self {
        let event_loop = env.event_loop;
        let share = |total: usize| total / event_loops + usize::from(event_loop < total % event_loops);
        Self {
            env,
            entries: Slab::new(),
            deadlines: Deadlines::default(),
            stalled: Vec::new(),
            max_stalled: share(MAX_STALLED).max(1),
            lingering: VecDeque::new(),
            max_lingering: share(MAX_LINGERING),
        }
    }

    /// Whether there are no connections and no lingering sockets.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Serves `connection` from now on.
    pub(super) fn add(&mut self, mut connection: Connection<K>) {
        // The settings may have changed since it was accepted.
        let finishes = !connection.apply(&self.env.settings) || self.env.drain.is_some();
        let key = self.entries.insert(Entry::Serving(connection));
        let Entry::Serving(connection) = &self.entries[key] else { unreachable!("it was just added") };
        match retry(|| self.env.kernel.watch(connection.socket(), key, Interest::Read)) {
            Ok(()) if finishes => self.serve(key),
            Ok(()) => self.deadlines.arm(key, connection.deadline(&self.env.settings, None).0),
            Err(_) => self.close(key, CloseReason::Io, Interest::Read),
        }
    }

    /// Handles a connection or a lingering socket that is ready, unless it was closed after the kernel reported it.
    #[inline]
    pub(super) fn serve(&mut self, key: usize) {
        match self.entries.get(key) {
            Some(Entry::Serving(_)) => {
                let before = self.env.now;
                self.step(key, Connection::serve);
                if self.env.now == before {
                    // Nothing was answered. The service time of the next connection must not include this one's time.
                    self.env.now = self.env.kernel.now();
                }
            }
            Some(Entry::Lingering(lingering)) => {
                let Environment { kernel, input, drain, .. } = &mut self.env;
                if lingering.drop_input(kernel, input) {
                } else if lingering.is_undelivered(kernel, *drain) {
                    // Only its deadline matters now.
                    let forgotten = retry(|| kernel.forget(lingering.socket()));
                    forgotten.expect("a watched socket can be forgotten");
                } else {
                    self.close_lingering(key, Fate::Close);
                }
            }
            None => {}
        }
    }

    /// Applies changed settings to all connections.
    pub(super) fn apply_settings(&mut self) {
        let mut not_allowed = Vec::new();
        for (key, entry) in &mut self.entries {
            let Entry::Serving(connection) = entry else { continue };
            if connection.apply(&self.env.settings) {
                self.deadlines.arm(key, connection.deadline(&self.env.settings, self.env.drain).0);
            } else {
                not_allowed.push(key);
            }
        }
        for key in not_allowed {
            self.serve(key);
        }
    }

    /// Starts to finish all connections: the stop has begun.
    pub(super) fn drain(&mut self) {
        let keys: Vec<usize> = self.entries.iter().map(|(key, _)| key).collect();
        for key in keys {
            match self.entries.get(key) {
                Some(Entry::Serving(_)) => self.serve(key),
                Some(Entry::Lingering(lingering)) => {
                    self.deadlines.arm(key, lingering.deadline(self.env.drain));
                }
                None => {}
            }
        }
    }

    /// Handles the deadlines that have passed.
    pub(super) fn expire(&mut self) {
        let now = self.env.now;
        while let Some(key) = self.deadlines.take_expired(now) {
            match self.entries.get_mut(key) {
                Some(Entry::Serving(_)) => self.step(key, Connection::expire),
                Some(Entry::Lingering(lingering)) => {
                    let Environment { kernel, input, drain, .. } = &mut self.env;
                    match lingering.expire(kernel, input, *drain) {
                        Fate::Lingers => self.deadlines.arm(key, lingering.deadline(*drain)),
                        fate => self.close_lingering(key, fate),
                    }
                }
                None => {}
            }
        }
    }

    /// Runs one step of the connection with this key. A panic ends this connection only.
    fn step(&mut self, key: usize, step: impl FnOnce(&mut Connection<K>, &mut Environment<K>) -> Next) {
        let Some(Entry::Serving(connection)) = self.entries.get_mut(key) else { return };
        let awaited = connection.awaits();
        let next = catch_unwind(AssertUnwindSafe(|| step(connection, &mut self.env)));
        let outcome = match next.unwrap_or(Next::Close(CloseReason::Panic)) {
            Next::Close(reason) => Err(reason),
            Next::Await(interest) if interest == awaited => Ok(()),
            Next::Await(interest) => {
                let changed = retry(|| self.env.kernel.change(connection.socket(), key, interest));
                changed.map_err(|_: Errno| CloseReason::Io)
            }
        };
        if let Err(reason) = outcome {
            return self.close(key, reason, awaited);
        }
        self.deadlines.arm(key, connection.deadline(&self.env.settings, self.env.drain).0);
        if connection.awaits() != awaited {
            let is_stalled = connection.awaits() == Interest::Write;
            self.set_stalled(key, is_stalled);
        }
    }

    /// Records whether a connection waits for its peer to read. If there are too many of these, the one that has waited
    /// longest is closed.
    fn set_stalled(&mut self, key: usize, is_stalled: bool) {
        if !is_stalled {
            self.stalled.retain(|stalled| *stalled != key);
            return;
        }
        self.stalled.push(key);
        if self.stalled.len() > self.max_stalled {
            let since = |key: &&usize| match self.entries.get(**key) {
                Some(Entry::Serving(connection)) => connection.stalled_since(),
                _ => None,
            };
            if let Some(&longest) = self.stalled.iter().min_by_key(since) {
                self.close(longest, CloseReason::SlowReader, Interest::Write);
            }
        }
    }

    /// Ends a connection, which is `watched` for this interest. Its permit is released at the FIN, not when the peer closes.
    fn close(&mut self, key: usize, reason: CloseReason, watched: Interest) {
        let Entry::Serving(connection) = self.entries.remove(key) else { unreachable!("it is served") };
        self.deadlines.disarm(key);
        self.stalled.retain(|stalled| *stalled != key);
        let (socket, record) = connection.into_parts();
        let Environment { kernel, drain, .. } = &mut self.env;
        match reason {
            // The kernel would keep the unread replies for minutes.
            CloseReason::SlowReader | CloseReason::Forced => kernel.reset(socket),
            CloseReason::Io | CloseReason::Panic => kernel.close(socket),
            CloseReason::Client
                if record.requests <= FEW_REQUESTS || !is_undelivered(kernel, &socket, *drain) =>
            {
                kernel.close(socket);
            }
            _ => self.linger(socket, Some((key, watched))),
        }
        record.end(reason, self.env.now);
        // The accepting event loop checks for permits at the end of each turn.
        if let Some(acceptor) = &self.env.acceptor
            && self.env.context.limit.take_awaited()
        {
            acceptor.wake();
        }
    }

    /// Sends a refusal to a peer, and closes.
    pub(super) fn refuse(&mut self, socket: K::Socket, reply: &[u8]) {
        // The send buffer of a new connection has room for this. It fails only if the peer has gone.
        let _ = send_some(&mut self.env.kernel, &socket, reply);
        self.linger(socket, None);
    }

    /// Sends FIN, and lets the socket linger. If too many linger, the oldest is closed. `watched` is the key and the
    /// interest that it is watched with.
    fn linger(&mut self, socket: K::Socket, watched: Option<(usize, Interest)>) {
        if retry(|| self.env.kernel.shut_down(&socket)).is_err() {
            // The peer has gone.
            self.env.kernel.close(socket);
            return;
        }
        let entry = self.entries.vacant_entry();
        let key = entry.key();
        let is_watched = match watched {
            Some(watched) if watched == (key, Interest::Read) => Ok(()),
            Some(_) => retry(|| self.env.kernel.change(&socket, key, Interest::Read)),
            None => retry(|| self.env.kernel.watch(&socket, key, Interest::Read)),
        };
        let lingering = Lingering::new(socket, self.env.now);
        self.deadlines.arm(key, lingering.deadline(self.env.drain));
        entry.insert(Entry::Lingering(lingering));
        self.lingering.push_back(key);
        if is_watched.is_err() {
            self.close_lingering(key, Fate::Close);
        } else if self.lingering.len() > self.max_lingering {
            self.make_room();
        }
    }

    /// Closes the socket that has lingered longest. What has arrived is read first, because unread bytes would turn the close
    /// into a reset.
    fn make_room(&mut self) {
        let oldest = self.lingering[0];
        let Entry::Lingering(lingering) = &self.entries[oldest] else { unreachable!("it lingers") };
        let Environment { kernel, input, drain, .. } = &mut self.env;
        lingering.drop_input(kernel, input);
        let is_undelivered = lingering.is_undelivered(kernel, *drain);
        self.close_lingering(oldest, if is_undelivered { Fate::Reset } else { Fate::Close });
    }

    fn close_lingering(&mut self, key: usize, fate: Fate) {
        let Entry::Lingering(lingering) = self.entries.remove(key) else { unreachable!("it lingers") };
        self.deadlines.disarm(key);
        self.lingering.retain(|lingering| *lingering != key);
        match fate {
            Fate::Reset => self.env.kernel.reset(lingering.into_socket()),
            Fate::Lingers | Fate::Close => self.env.kernel.close(lingering.into_socket()),
        }
    }

    /// See [`Census`].
    #[cfg(feature = "simulation")]
    pub(super) fn census(&self) -> Census {
        let mut census = Census { lingering: self.lingering.len(), ..Default::default() };
        for (_, entry) in &self.entries {
            let Entry::Serving(connection) = entry else { continue };
            census.connections += 1;
            census.stalled += usize::from(connection.stalled_since().is_some());
            census.held_bytes += connection.held_bytes();
        }
        census
    }
}
