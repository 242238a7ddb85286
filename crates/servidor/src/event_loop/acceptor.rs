//! Accepts connections for all event loops. A permit comes before accept(2), so that connections beyond the limit wait in
//! the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use daemon::accept::{AcceptErrors, AfterError, PAUSE};
use daemon::listener::BACKLOG;

use super::inbox::{Handle, Message};
use super::table::Table;
use crate::connection::{Connection, ConnectionRecord};
use crate::drain::Drain;
use crate::environment::Environment;
use crate::kernel::{Errno, Kernel, retry};
use crate::log::{Log, Peer};
use crate::metrics::Refusal;
use crate::settings::Overload;

/// At a stop descriptors come free all the time: trying again is cheap, and time is short.
const PAUSE_AT_STOP: Duration = Duration::from_millis(10);
/// What the queue of a listener can hold (listen(2): the kernel allows one more than was asked for).
const MAX_QUEUE: usize = BACKLOG.unsigned_abs() as usize + 1;
/// How many connections are accepted before others have their turn.
const MAX_ACCEPTS: usize = 64;
/// How long all permits are taken before there is a warning.
const FULL_BEFORE_WARNING: Duration = Duration::from_secs(1);

/// A socket that listens.
pub(crate) struct Listening<L> {
    pub(crate) socket: L,
    /// For messages.
    pub(crate) address: SocketAddr,
    /// It outlives this process: its queue is the successor's.
    pub(crate) inherited: bool,
}

/// See the module.
pub(super) struct Acceptor<K: Kernel> {
    listeners: Vec<Listener<K::Listener>>,
    /// The other event loops.
    others: Vec<Handle<K>>,
    last_connection: u64,
    full: Option<Full>,
}

struct Listener<L> {
    listening: Listening<L>,
    is_watched: bool,
    paused_until: Option<Instant>,
    errors: AcceptErrors,
    /// Connections taken from the queue since the stop began.
    accepted_at_stop: usize,
}

/// All permits are taken, and connections have to wait.
#[derive(Clone, Copy)]
struct Full {
    since: Instant,
    is_reported: bool,
}

/// What came of a call of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// A connection, which is served, refused or closed.
    Connection,
    /// Nothing: nobody waits, or the listener pauses.
    Nothing,
}

impl<K: Kernel> Acceptor<K> {
    /// Accepts from `listeners` for this event loop and `others`.
    pub(super) fn new(listeners: Vec<Listening<K::Listener>>, others: Vec<Handle<K>>) -> Self {
        let listener = |listening| Listener {
            listening,
            is_watched: false,
            paused_until: None,
            errors: AcceptErrors::default(),
            accepted_at_stop: 0,
        };
        let listeners = listeners.into_iter().map(listener).collect();
        Self { listeners, others, last_connection: 0, full: None }
    }

    /// A listener is ready: accepts one connection, so that others have their turn.
    pub(super) fn serve(
        &mut self,
        index: usize,
        table: &mut Table<K>,
        env: &mut Environment<K>,
    ) -> io::Result<()> {
        // It may be watched no longer since the kernel reported it.
        if self.listeners.get(index).is_some_and(|listener| listener.is_watched) {
            self.accept(index, table, env)?;
        }
        Ok(())
    }

    /// Watches the listeners that can be accepted from, and no others: to be called at the end of each turn.
    pub(super) fn settle(&mut self, table: &mut Table<K>, env: &mut Environment<K>) -> io::Result<()> {
        let mut nobody_waits = false;
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.paused_until.is_some_and(|until| until <= env.now) {
                listener.paused_until = None;
            }
            // Connections that have waited for a permit are taken at once.
            let mut accepts = 0;
            while !self.listeners[index].is_watched
                && self.listeners[index].paused_until.is_none()
                && may_accept(env)
            {
                accepts += 1;
                if accepts > MAX_ACCEPTS {
                    self.watch(index, env)?;
                } else if self.accept(index, table, env)? == Accepted::Nothing {
                    nobody_waits |= self.watch(index, env)?;
                }
            }
            let may_accept = self.listeners[index].paused_until.is_none() && may_accept(env);
            if self.listeners[index].is_watched && !may_accept {
                self.forget(index, env);
            }
        }
        self.report_full(nobody_waits, env);
        Ok(())
    }

    /// Warns when all permits have been taken for a while, and says when that is over.
    fn report_full(&mut self, nobody_waits: bool, env: &Environment<K>) {
        let limit = env.context.limit.limit();
        let waits = env.settings.overload == Overload::Wait;
        if waits && !env.context.limit.has_free() {
            let full = self.full.get_or_insert(Full { since: env.now, is_reported: false });
            if !full.is_reported && env.now >= full.since + FULL_BEFORE_WARNING {
                full.is_reported = true;
                Log::limit_reached(limit);
            }
        } else if let Some(Full { since, is_reported }) = self.full
            && (nobody_waits || !waits || !is_reported)
        {
            self.full = None;
            if is_reported {
                Log::limit_cleared(limit, env.now.saturating_duration_since(since));
            }
        }
    }

    /// When to call [`Acceptor::settle`], if nothing happens before.
    pub(super) fn next_deadline(&self, drain: Option<Drain>) -> Option<Instant> {
        let paused = self.listeners.iter().filter_map(|listener| listener.paused_until);
        let full =
            self.full.iter().filter(|full| !full.is_reported).map(|full| full.since + FULL_BEFORE_WARNING);
        let forced = drain.map(|drain| drain.forced);
        paused.chain(full.filter(|_| drain.is_none())).chain(forced).min()
    }

    /// The stop has begun, or goes on: serves those who wait in the queues, even beyond the limit. Their handshake is
    /// done, and closing the listener would reset them. The queues of inherited listeners are the successor's.
    ///
    /// Returns whether all listeners are closed.
    pub(super) fn drain(&mut self, drain: Drain, table: &mut Table<K>, env: &mut Environment<K>) -> bool {
        for index in (0..self.listeners.len()).rev() {
            if !self.drain_queue(index, drain, table, env) {
                continue;
            }
            let Listener { listening, .. } = self.listeners.swap_remove(index);
            env.kernel.close_listener(listening.socket);
        }
        self.listeners.is_empty()
    }

    /// Returns whether this listener is done with.
    fn drain_queue(
        &mut self,
        index: usize,
        drain: Drain,
        table: &mut Table<K>,
        env: &mut Environment<K>,
    ) -> bool {
        self.forget(index, env);
        let is_over = env.now >= drain.forced;
        if self.listeners[index].listening.inherited {
            return true;
        }
        if self.listeners[index].paused_until.is_some_and(|until| until > env.now) && !is_over {
            return false;
        }
        self.listeners[index].paused_until = None;
        while self.listeners[index].accepted_at_stop < MAX_QUEUE {
            match self.accept(index, table, env) {
                Ok(Accepted::Connection) => self.listeners[index].accepted_at_stop += 1,
                // Files have run out: connections that end meanwhile give theirs back.
                Ok(Accepted::Nothing) if self.listeners[index].paused_until.is_some() => {
                    self.listeners[index].paused_until = Some(env.now + PAUSE_AT_STOP);
                    return is_over;
                }
                Ok(Accepted::Nothing) | Err(_) => break,
            }
        }
        true
    }

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// If the listener does not listen any more. Only a restart can bind it again.
    fn accept(
        &mut self,
        index: usize,
        table: &mut Table<K>,
        env: &mut Environment<K>,
    ) -> io::Result<Accepted> {
        let listener = &mut self.listeners[index];
        loop {
            match retry(|| env.kernel.accept(&listener.listening.socket)) {
                Ok((socket, address)) => {
                    listener.errors.reset();
                    env.now = env.kernel.now();
                    self.admit(socket, address, table, env);
                    return Ok(Accepted::Connection);
                }
                // Another process has the same listener, and was faster.
                Err(Errno::AGAIN) => {
                    listener.errors.reset();
                    return Ok(Accepted::Nothing);
                }
                Err(error) => {
                    env.metrics().accept_failed();
                    env.context.log.accept_failed(error);
                    match listener.errors.after(error) {
                        AfterError::Next => {}
                        AfterError::Pause => {
                            listener.paused_until = Some(env.now + PAUSE);
                            return Ok(Accepted::Nothing);
                        }
                        AfterError::GiveUp => {
                            let address = listener.listening.address;
                            let problem = format!("{address}: the socket does not listen any more: {error}");
                            return Err(io::Error::new(io::Error::from(error).kind(), problem));
                        }
                    }
                }
            }
        }
    }

    /// Serves a new connection, here or in another event loop; refuses it, or closes it.
    fn admit(
        &mut self,
        socket: K::Socket,
        address: SocketAddr,
        table: &mut Table<K>,
        env: &mut Environment<K>,
    ) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !env.settings.allow.contains(address.ip()) {
            refused(address, Refusal::NotAllowed, env);
            env.kernel.close(socket);
            return;
        }
        if env.drain.is_none() && !env.context.limit.has_free() {
            refused(address, Refusal::Overload, env);
            table.refuse(socket, &[protocol::BUSY, b"\n"].concat(), env);
            return;
        }
        self.last_connection += 1;
        let peer = Peer { connection: self.last_connection, address };
        let emptiest = self.others.iter().enumerate().min_by_key(|(_, other)| other.connections());
        if let Some((index, other)) = emptiest.filter(|(_, other)| other.connections() < env.connections()) {
            // The first event loop is this one.
            let record = ConnectionRecord::begin(&env.context, index + 1, peer, env.now);
            other.assign(Connection::new(socket, record));
        } else {
            let record = ConnectionRecord::begin(&env.context, env.event_loop, peer, env.now);
            env.connection_added();
            table.add(Connection::new(socket, record), env);
        }
    }

    /// Watches a listener, unless it pauses. Returns whether it does so.
    fn watch(&mut self, index: usize, env: &mut Environment<K>) -> io::Result<bool> {
        let listener = &mut self.listeners[index];
        if listener.paused_until.is_none() {
            retry(|| env.kernel.watch_listener(&listener.listening.socket, index))?;
            listener.is_watched = true;
        }
        Ok(listener.is_watched)
    }

    fn forget(&mut self, index: usize, env: &mut Environment<K>) {
        let listener = &mut self.listeners[index];
        if std::mem::take(&mut listener.is_watched) {
            let forgotten = retry(|| env.kernel.forget_listener(&listener.listening.socket));
            forgotten.expect("a watched listener can be forgotten");
        }
    }
}

/// Whether a connection may be accepted, even if only to be refused. If not, a permit that is given back wakes us.
fn may_accept<K: Kernel>(env: &Environment<K>) -> bool {
    env.settings.overload == Overload::Refuse
        || env.context.limit.has_free()
        || env.context.limit.await_free()
}

fn refused<K: Kernel>(address: SocketAddr, reason: Refusal, env: &Environment<K>) {
    env.metrics().connection_refused(reason);
    env.context.log.connection_refused(address, reason);
}

impl<K: Kernel> Drop for Acceptor<K> {
    /// However it ends, the others need not wait for connections any longer.
    fn drop(&mut self) {
        for other in &self.others {
            other.send(Message::LastConnection);
        }
    }
}
