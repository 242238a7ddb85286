//! Lets connections in: one event loop looks after all listeners, and finds a place before it accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use daemon::listener::{BACKLOG, Listener, pause_after};
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::context::Context;
use crate::event_loop::Entrance;
use crate::linger::linger;
use crate::metrics::Refusal;
use crate::open::Open;
use crate::poller::{Interest, Poller, Source};
use crate::settings::{Overload, Own, Settings};
use crate::socket::Socket;

/// The listeners, and who may come in by them.
pub(crate) struct Reception {
    poller: Arc<Poller>,
    listeners: Vec<Listener>,
    /// Whether the listeners are watched.
    is_open: bool,
    /// After the kernel ran out of something.
    closed_until: Option<Instant>,
    settings: watch::Receiver<Arc<Settings>>,
    current: Arc<Own>,
    context: Arc<Context>,
    /// The ways into the other event loops.
    entrances: Vec<Entrance>,
}

impl Reception {
    /// Watches `listeners`, under settings that may change.
    ///
    /// # Errors
    ///
    /// If the kernel has no memory for it.
    pub(crate) fn new(
        poller: Arc<Poller>,
        listeners: Vec<Listener>,
        mut settings: watch::Receiver<Arc<Settings>>,
        context: Arc<Context>,
        entrances: Vec<Entrance>,
    ) -> io::Result<Self> {
        for (index, listener) in listeners.iter().enumerate() {
            poller.watch(&listener.socket, Source::Listener(index), Interest::Read)?;
        }
        let current = own(&mut settings);
        let (is_open, closed_until) = (true, None);
        Ok(Self { poller, listeners, is_open, closed_until, settings, current, context, entrances })
    }

    /// Accepts one connection, which is returned if it is to be served by the event loop that has `here` already.
    pub(crate) fn accept_from(
        &mut self,
        index: usize,
        here: usize,
        now: Instant,
    ) -> Option<Connection<Socket>> {
        // It may have been closed since the kernel told of the listener.
        let listener = self.listeners.get(index).filter(|_| self.is_open)?;
        let connection = match accept(&listener.socket) {
            Ok((socket, address)) => self.admit(socket, address, here),
            // Another process has the same listener, and was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => {
                self.closed_until = self.accept_failed(&error).map(|pause| now + pause);
                None
            }
        };
        if self.closed_until.is_some() || !self.may_accept() {
            self.set_open(false);
        }
        connection
    }

    /// Opens again when there is a place, and nothing else is against it.
    pub(crate) fn open_if_possible(&mut self, now: Instant) {
        if self.is_open || self.closed_until.is_some_and(|until| until > now) {
            return;
        }
        self.closed_until = None;
        if self.current.overload == Overload::Refuse || self.context.places.await_free() {
            self.set_open(true);
        }
    }

    /// When to call [`Reception::open_if_possible`], if nothing happens before.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.closed_until
    }

    /// Takes over settings that have changed.
    pub(crate) fn adopt_settings(&mut self) {
        // Without a sender there will be none.
        if !self.settings.has_changed().unwrap_or(false) {
            return;
        }
        self.current = own(&mut self.settings);
        self.context.places.set_limit(self.current.max_connections.as_usize());
        if self.is_open && !self.may_accept() {
            self.set_open(false);
        }
    }

    /// Whether the daemon is stopping.
    pub(crate) fn is_to_close(&self) -> bool {
        self.context.stop.has_begun()
    }

    /// Closes the listeners. Who waits in the queues of own ones is served, though it be beyond the limit: their
    /// handshake is done, and they would be reset. The queues of inherited listeners are the successor's.
    pub(crate) fn close(mut self, here: usize) -> Vec<Connection<Socket>> {
        let mut for_here = Vec::new();
        for listener in std::mem::take(&mut self.listeners) {
            // An inherited one is still open elsewhere, and would be watched for ever.
            self.poller.forget(&listener.socket);
            let most = if listener.inherited { 0 } else { BACKLOG };
            for _ in 0..most {
                match accept(&listener.socket) {
                    Ok((socket, address)) => {
                        for_here.extend(self.admit(socket, address, here + for_here.len()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if self.accept_failed(&error).is_some() => break,
                    Err(_) => {}
                }
            }
        }
        for_here
    }

    /// Whether a connection may be accepted, be it only to be told that there is no place.
    fn may_accept(&self) -> bool {
        self.current.overload == Overload::Refuse || self.context.places.any_free()
    }

    fn set_open(&mut self, is_open: bool) {
        let interest = if is_open { Interest::Read } else { Interest::Nothing };
        for (index, listener) in self.listeners.iter().enumerate() {
            let changed = self.poller.change(&listener.socket, Source::Listener(index), interest);
            changed.expect("a listener that is watched can be watched otherwise");
        }
        self.is_open = is_open;
    }

    /// Counts and logs an error that is not one connection's own; says for how long to accept nobody.
    fn accept_failed(&self, error: &io::Error) -> Option<Duration> {
        pause_after(error).inspect(|_| {
            self.context.metrics.accept_failed();
            self.context.events.accept_failed(error);
        })
    }

    /// Lets a connection in, or says to it why not. It is returned if it is not given to another event loop.
    fn admit(&mut self, socket: Socket, address: SocketAddr, here: usize) -> Option<Connection<Socket>> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !self.current.allow.contains(address.ip()) {
            self.refuse(address, Refusal::NotAllowed);
            return None;
        }
        if self.current.overload == Overload::Refuse && !self.context.places.any_free() {
            self.refuse(address, Refusal::Overload);
            self.context.let_linger(tell_busy(socket));
            return None;
        }
        let open = Open::begin(Arc::clone(&self.context), address);
        let connection = Connection::new(socket, open, Arc::clone(&self.current));
        let emptiest = self.entrances.iter_mut().min_by_key(|entrance| entrance.count());
        match emptiest.filter(|entrance| entrance.count() < here) {
            Some(entrance) => {
                entrance.admit(connection);
                None
            }
            None => Some(connection),
        }
    }

    fn refuse(&self, address: SocketAddr, reason: Refusal) {
        self.context.metrics.connection_refused(reason);
        self.context.events.connection_refused(address, reason);
    }
}

fn own(settings: &mut watch::Receiver<Arc<Settings>>) -> Arc<Own> {
    Arc::new(settings.borrow_and_update().own.clone())
}

/// Accepts a connection that does not block, in one system call.
fn accept(listener: &TcpListener) -> io::Result<(Socket, SocketAddr)> {
    let (socket, address) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let address = address.ok_or(io::ErrorKind::InvalidData)?;
    Ok((socket.into(), address.try_into()?))
}

async fn tell_busy(socket: Socket) {
    let Ok(mut stream) = socket.into_tokio() else { return };
    // The first write to a new connection finds an empty buffer; a peer that is gone already needs no reply.
    let _ = stream.write_all(&[protocol::BUSY, b"\n"].concat()).await;
    let _ = stream.shutdown().await;
    linger(stream, None).await;
}
