//! Accepts connections for all event loops. A permit comes before accept(2), so that connections beyond the limit wait in
//! the kernel's queue.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use daemon::accept::{AcceptErrors, AfterError, PAUSE};
use daemon::listener::BACKLOG;

use super::connections::Connections;
use super::inbox::{Handle, Message};
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
/// How long all permits are taken before there is a warning.
const FULL_BEFORE_WARNING: Duration = Duration::from_secs(1);

/// A socket that listens.
pub(crate) struct Listening<L> {
    pub(crate) socket: L,
    /// For messages.
    pub(crate) address: SocketAddr,
    /// It outlives this process: its queue is the successor's.
    pub(crate) outlives: bool,
}

/// See the module.
pub(super) struct Acceptor<K: Kernel> {
    listeners: Vec<Listener<K>>,
    distributor: Distributor<K>,
    /// Since when all permits have been taken, and whether there was a warning.
    full: Option<(Instant, bool)>,
}

/// Gives each connection to the event loop that has the fewest.
struct Distributor<K: Kernel> {
    /// The event loops but this one, which is the first.
    others: Vec<Handle<K>>,
    last_connection: u64,
}

struct Listener<K: Kernel> {
    listening: Listening<K::Listener>,
    is_watched: bool,
    paused_until: Option<Instant>,
    errors: AcceptErrors,
    /// Connections taken from the queue since the stop began.
    accepted_at_stop: usize,
}

impl<K: Kernel> Acceptor<K> {
    /// Accepts from `listeners` for this event loop and `others`.
    pub(super) fn new(listeners: Vec<Listening<K::Listener>>, others: Vec<Handle<K>>) -> Self {
        let listeners = listeners.into_iter().map(Listener::new).collect();
        Self { listeners, distributor: Distributor { others, last_connection: 0 }, full: None }
    }

    /// A listener is ready: accepts one connection, so that others have their turn.
    pub(super) fn serve(&mut self, index: usize, connections: &mut Connections<K>) -> io::Result<()> {
        let env = &mut connections.env;
        // It may be watched no longer since the kernel reported it, or the last permit may have been taken.
        let listener =
            self.listeners.get_mut(index).filter(|listener| listener.is_watched && may_accept(env));
        if let Some(listener) = listener
            && let Some((socket, address)) = listener.accept(env)?
        {
            self.distributor.admit(socket, address, connections);
        }
        Ok(())
    }

    /// Watches the listeners that can be accepted from, and no others. Call it at the end of each turn.
    pub(super) fn settle(&mut self, env: &mut Environment<K>) {
        let may_accept = may_accept(env);
        // A listener that was watched in this turn would have been ready if anyone had waited.
        let mut nobody_waits = may_accept;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            nobody_waits &= listener.is_watched;
            listener.paused_until = listener.paused_until.filter(|until| *until > env.now);
            if !may_accept || listener.paused_until.is_some() {
                listener.forget(env);
            } else if !listener.is_watched {
                listener.watch(index, env);
            }
        }
        self.report_full(nobody_waits, env);
    }

    /// Warns when all permits have been taken for a while, and says when nobody waits for one any longer.
    fn report_full(&mut self, nobody_waits: bool, env: &Environment<K>) {
        let limit = env.context.limit.limit();
        let is_full = env.settings.overload == Overload::Wait && !env.context.limit.has_free();
        match self.full {
            None if is_full => self.full = Some((env.now, false)),
            Some((since, false)) if is_full && env.now >= since + FULL_BEFORE_WARNING => {
                self.full = Some((since, true));
                Log::limit_reached(limit);
            }
            Some((since, was_reported)) if !is_full && nobody_waits => {
                self.full = None;
                if was_reported {
                    Log::limit_cleared(limit, env.now.saturating_duration_since(since));
                }
            }
            _ => {}
        }
    }

    /// When to call [`Acceptor::settle`] or [`Acceptor::drain`], if nothing happens before.
    pub(super) fn next_deadline(&self, env: &Environment<K>) -> Option<Instant> {
        let paused = self.listeners.iter().filter_map(|listener| listener.paused_until);
        let full = match self.full {
            _ if env.drain.is_some() => None,
            // Whether anyone waits is known after the next wait, which need not last.
            Some(_) if self.listeners.iter().all(|listener| listener.is_watched) => Some(env.now),
            Some((since, false)) if !env.context.limit.has_free() => Some(since + FULL_BEFORE_WARNING),
            _ => None,
        };
        paused.chain(full).chain(env.drain.map(|drain| drain.forced)).min()
    }

    /// The stop has begun, or goes on: serves those who wait in the queues, even beyond the limit. Their handshake is
    /// done, and closing the listener would reset them. The queue of a listener that outlives this process is the
    /// successor's.
    ///
    /// Returns whether all listeners are closed.
    pub(super) fn drain(&mut self, drain: Drain, connections: &mut Connections<K>) -> bool {
        let Self { listeners, distributor, .. } = self;
        let is_done = |listener: &mut Listener<K>| listener.drain(drain, distributor, connections);
        let done: Vec<_> = listeners.extract_if(.., is_done).collect();
        for listener in done {
            connections.env.kernel.close_listener(listener.listening.socket);
        }
        self.listeners.is_empty()
    }
}

impl<K: Kernel> Listener<K> {
    fn new(listening: Listening<K::Listener>) -> Self {
        let errors = AcceptErrors::default();
        Self { listening, is_watched: false, paused_until: None, errors, accepted_at_stop: 0 }
    }

    /// Watches it. If the kernel lacks the memory, or the user has too many watches, the listener pauses.
    fn watch(&mut self, index: usize, env: &mut Environment<K>) {
        match retry(|| env.kernel.watch_listener(&self.listening.socket, index)) {
            Ok(()) => self.is_watched = true,
            Err(error) => {
                env.metrics().accept_failed();
                env.context.log.watch_failed(self.listening.address, error);
                self.paused_until = Some(env.now + PAUSE);
            }
        }
    }

    fn forget(&mut self, env: &mut Environment<K>) {
        if std::mem::take(&mut self.is_watched) {
            let forgotten = retry(|| env.kernel.forget_listener(&self.listening.socket));
            forgotten.expect("a watched listener can be forgotten");
        }
    }

    /// Takes the queue. Returns whether the listener is done with.
    fn drain(
        &mut self,
        drain: Drain,
        distributor: &mut Distributor<K>,
        connections: &mut Connections<K>,
    ) -> bool {
        self.forget(&mut connections.env);
        let now = connections.env.now;
        let is_over = now >= drain.forced;
        if !is_over && self.paused_until.is_some_and(|until| until > now) {
            return false;
        }
        self.paused_until = None;
        while !self.listening.outlives && self.accepted_at_stop < MAX_QUEUE {
            match self.accept(&mut connections.env) {
                Ok(Some((socket, address))) => {
                    self.accepted_at_stop += 1;
                    distributor.admit(socket, address, connections);
                }
                // Files have run out: connections that end meanwhile give theirs back.
                Ok(None) if self.paused_until.is_some() => {
                    self.paused_until = Some(now + PAUSE_AT_STOP);
                    return is_over;
                }
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    /// Accepts one connection. `None`: nobody waits, or the listener pauses.
    ///
    /// # Errors
    ///
    /// If it does not listen any more. Only a restart can bind it again.
    fn accept(&mut self, env: &mut Environment<K>) -> io::Result<Option<(K::Socket, SocketAddr)>> {
        loop {
            let error = match retry(|| env.kernel.accept(&self.listening.socket)) {
                Ok((socket, address)) => {
                    self.errors.reset();
                    // What accepting takes must not count as the next one's service time.
                    env.now = env.kernel.now();
                    return Ok(Some((socket, address)));
                }
                // Another process has the same listener, and was faster.
                Err(Errno::AGAIN) => {
                    self.errors.reset();
                    return Ok(None);
                }
                Err(error) => error,
            };
            env.metrics().accept_failed();
            env.context.log.accept_failed(error);
            match self.errors.after(error) {
                AfterError::Next => {}
                AfterError::Pause => {
                    self.paused_until = Some(env.now + PAUSE);
                    return Ok(None);
                }
                AfterError::GiveUp => {
                    let problem = format!("{} does not listen any more: {error}", self.listening.address);
                    return Err(io::Error::new(io::Error::from(error).kind(), problem));
                }
            }
        }
    }
}

impl<K: Kernel> Distributor<K> {
    /// Serves a new connection, here or in another event loop; refuses it, or closes it.
    fn admit(&mut self, socket: K::Socket, address: SocketAddr, connections: &mut Connections<K>) {
        let env = &mut connections.env;
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !env.settings.allow.contains(address.ip()) {
            refused(address, Refusal::NotAllowed, env);
            env.kernel.close(socket);
            return;
        }
        if env.drain.is_none() && !env.context.limit.has_free() {
            refused(address, Refusal::Overload, env);
            connections.refuse(socket, &[protocol::BUSY, b"\n"].concat());
            return;
        }
        self.last_connection += 1;
        let peer = Peer { connection: self.last_connection, address };
        let event_loops = 0..=self.others.len();
        let emptiest = event_loops.min_by_key(|&event_loop| env.context.metrics.of(event_loop).active());
        let event_loop = emptiest.expect("there is at least this one");
        let record = ConnectionRecord::begin(&env.context, event_loop, peer, env.now);
        let connection = Connection::new(socket, record);
        match event_loop.checked_sub(1) {
            Some(other) => self.others[other].send(Message::Connection(connection)),
            None => connections.add(connection),
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
        self.distributor.others.iter().for_each(|other| other.send(Message::LastConnection));
    }
}
