//! Accepts connections for all event loops. Connections beyond the limit wait in the kernel's queue. Peers that `allow`
//! excludes would fill that queue, so it is looked through, and the first allowed connections in it are held.

use std::collections::VecDeque;
use std::io;
use std::mem;
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

/// At a stop, descriptors are released all the time, and there is little time: it tries again sooner.
const PAUSE_AT_STOP: Duration = Duration::from_millis(10);
/// How many connections the queue of a listener can hold. The kernel allows one more than the backlog of listen(2).
const MAX_QUEUE: usize = BACKLOG.unsigned_abs() as usize + 1;
/// How many allowed connections are held while all permits are taken. Those after them wait in the kernel's queue, and
/// strangers may then fill it.
const MAX_HELD: usize = 16;
/// How long all permits must be taken before there is a warning.
const FULL_BEFORE_WARNING: Duration = Duration::from_secs(1);

/// A socket that listens.
pub(crate) struct Listening<L> {
    pub(crate) socket: L,
    /// For messages.
    pub(crate) address: SocketAddr,
    /// Whether it outlives this process. Its queue is then left to the successor.
    pub(crate) outlives: bool,
}

/// See the module.
pub(super) struct Acceptor<K: Kernel> {
    listeners: Vec<Listener<K>>,
    /// The index after that of the listener whose connection was accepted last.
    next: usize,
    /// Allowed connections without a permit, in the order of their arrival. Nothing is read from them.
    held: VecDeque<Accepted<K>>,
    distributor: Distributor<K>,
    /// Whether a connection was accepted in this turn. Others may wait behind it.
    has_accepted: bool,
    /// Since when all permits have been taken, and whether there was a warning.
    full: Option<(Instant, bool)>,
}

/// A socket and the address of its peer.
type Accepted<K> = (<K as Kernel>::Socket, SocketAddr);

/// Gives each connection to the event loop that has the fewest.
struct Distributor<K: Kernel> {
    /// All event loops except this one, which is the first.
    others: Vec<Handle<K>>,
    last_connection: u64,
}

struct Listener<K: Kernel> {
    listening: Listening<K::Listener>,
    is_watched: bool,
    paused_until: Option<Instant>,
    errors: AcceptErrors,
    /// How many connections were accepted since the stop began.
    accepted_at_stop: usize,
}

impl<K: Kernel> Acceptor<K> {
    /// Accepts from `listeners` for this event loop and `others`.
    pub(super) fn new(listeners: Vec<Listening<K::Listener>>, others: Vec<Handle<K>>) -> Self {
        let listeners = listeners.into_iter().map(Listener::new).collect();
        let distributor = Distributor { others, last_connection: 0 };
        Self { listeners, next: 0, held: VecDeque::new(), distributor, has_accepted: false, full: None }
    }

    /// A listener is ready: accepts one connection only, so that others get their turn.
    pub(super) fn serve(&mut self, index: usize, connections: &mut Connections<K>) -> io::Result<()> {
        let env = &mut connections.env;
        // Since the kernel reported it, it may have been forgotten, the last permit taken, or the stop begun.
        let may_accept = env.drain.is_none() && (may_admit(env) || self.may_hold(env));
        let listener = self.listeners.get_mut(index).filter(|listener| listener.is_watched && may_accept);
        if let Some(listener) = listener
            && let Some(accepted) = listener.accept(env)?
        {
            (self.next, self.has_accepted) = (index + 1, true);
            self.held.extend(allowed(accepted, env));
            self.admit_held(connections);
        }
        Ok(())
    }

    /// Watches the listeners that can be accepted from, and no others. Call it at the end of each turn.
    pub(super) fn settle(&mut self, connections: &mut Connections<K>) {
        self.admit_held(connections);
        let env = &mut connections.env;
        let may_accept = may_admit(env) || self.may_hold(env);
        // A listener that was watched in this turn would have been ready if a connection had been waiting.
        let mut nobody_waits = may_accept && self.held.is_empty() && !mem::take(&mut self.has_accepted);
        // The kernel reports them in the order in which they are watched, and the first may take the only permit.
        for offset in 0..self.listeners.len() {
            let index = (self.next + offset) % self.listeners.len();
            let listener = &mut self.listeners[index];
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

    /// Judges held connections again, because the settings have changed.
    pub(super) fn apply_settings(&mut self, env: &mut Environment<K>) {
        let held = mem::take(&mut self.held).into_iter();
        self.held = held.filter_map(|accepted| allowed(accepted, env)).collect();
    }

    /// Gives free permits to held connections. With `refuse`, those without a permit are refused.
    fn admit_held(&mut self, connections: &mut Connections<K>) {
        while !self.held.is_empty()
            && may_admit(&connections.env)
            && let Some(accepted) = self.held.pop_front()
        {
            self.distributor.admit(accepted, connections);
        }
    }

    /// Whether a connection may be accepted although all permits are taken. Where everyone is allowed, the kernel's queue
    /// has no strangers to look for.
    fn may_hold(&self, env: &Environment<K>) -> bool {
        self.held.len() < MAX_HELD && !env.settings.allow.contains_all()
    }

    /// Warns when all permits have been taken for a while, and logs when no connection waits for one any more.
    fn report_full(&mut self, nobody_waits: bool, env: &Environment<K>) {
        let limit = env.context.limit.limit();
        let is_full = is_full(env);
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

    /// When to call [`Acceptor::settle`] or [`Acceptor::drain`] if nothing is ready before.
    pub(super) fn next_deadline(&self, env: &Environment<K>) -> Option<Instant> {
        let paused = self.listeners.iter().filter_map(|listener| listener.paused_until);
        let full = match self.full {
            Some(_) if env.drain.is_some() => None,
            Some((since, false)) if is_full(env) => Some(since + FULL_BEFORE_WARNING),
            Some(_) if is_full(env) => None,
            // The next wait shows whether a connection is waiting. It need not block.
            Some(_) if self.listeners.iter().all(|listener| listener.is_watched) => Some(env.now),
            _ => None,
        };
        paused.chain(full).chain(env.drain.map(|drain| drain.forced)).min()
    }

    /// At each turn of a stop: serves the connections that are held or wait in the queues, even beyond the limit. Their
    /// handshakes are complete, and closing the listener would reset them. The queue of a listener that outlives this process
    /// is left to the successor.
    ///
    /// Returns whether all listeners are closed.
    pub(super) fn drain(&mut self, drain: Drain, connections: &mut Connections<K>) -> bool {
        let Self { listeners, held, distributor, .. } = self;
        held.drain(..).for_each(|accepted| distributor.admit(accepted, connections));
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

    /// Watches it. If there is no memory for that, or the user has too many watches, the listener pauses.
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
        if mem::take(&mut self.is_watched) {
            let forgotten = retry(|| env.kernel.forget_listener(&self.listening.socket));
            forgotten.expect("a watched listener can be forgotten");
        }
    }

    /// Accepts all connections in the queue. Returns whether the listener can be closed.
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
                Ok(Some(accepted)) => {
                    self.accepted_at_stop += 1;
                    if let Some(accepted) = allowed(accepted, &mut connections.env) {
                        distributor.admit(accepted, connections);
                    }
                }
                // Out of files: connections that end meanwhile release theirs.
                Ok(None) if self.paused_until.is_some() => {
                    self.paused_until = Some(now + PAUSE_AT_STOP);
                    return is_over;
                }
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    /// Accepts one connection. `None` if none is waiting, or if the listener pauses.
    ///
    /// # Errors
    ///
    /// If it no longer listens. Only a restart can bind it again.
    fn accept(&mut self, env: &mut Environment<K>) -> io::Result<Option<Accepted<K>>> {
        loop {
            let error = match retry(|| env.kernel.accept(&self.listening.socket)) {
                Ok((socket, address)) => {
                    self.errors.reset();
                    // The time that accepting takes must not count as service time.
                    env.now = env.kernel.now();
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    return Ok(Some((socket, address)));
                }
                // Another process with the same listener was faster.
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
    /// Serves a connection, here or in another event loop, or refuses it.
    fn admit(&mut self, (socket, address): Accepted<K>, connections: &mut Connections<K>) {
        let env = &mut connections.env;
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

/// The connection, unless its peer is not allowed: then it is closed.
fn allowed<K: Kernel>((socket, address): Accepted<K>, env: &mut Environment<K>) -> Option<Accepted<K>> {
    if env.settings.allow.contains(address.ip()) {
        return Some((socket, address));
    }
    refused(address, Refusal::NotAllowed, env);
    env.kernel.close(socket);
    None
}

/// Whether all permits are taken, and connections have to wait for one.
fn is_full<K: Kernel>(env: &Environment<K>) -> bool {
    env.settings.overload == Overload::Wait && !env.context.limit.has_free()
}

/// Whether a connection need not wait: it is served, or refused. If not, the next released permit wakes this event loop.
fn may_admit<K: Kernel>(env: &Environment<K>) -> bool {
    !is_full(env) || env.context.limit.await_free()
}

fn refused<K: Kernel>(address: SocketAddr, reason: Refusal, env: &Environment<K>) {
    env.metrics().connection_refused(reason);
    env.context.log.connection_refused(address, reason);
}

impl<K: Kernel> Drop for Acceptor<K> {
    /// The other event loops need not wait for connections any longer, whatever the reason.
    fn drop(&mut self) {
        self.distributor.others.iter().for_each(|other| other.send(Message::LastConnection));
    }
}
