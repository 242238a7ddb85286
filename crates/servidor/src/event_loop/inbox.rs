//! What other threads send to an event loop: connections, settings, the stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::connection::Connection;
use crate::drain::Drain;
use crate::kernel::{Kernel, Wake as _};
use crate::settings::Own;

/// What an event loop is told.
pub(crate) enum Message<K: Kernel> {
    /// To be served from now on.
    Connection(Connection<K>),
    /// No connection will follow.
    LastConnection,
    /// Settings in force from now on.
    Settings(Arc<Own>),
    /// The daemon stops.
    Stop(Drain),
}

/// Sends to an event loop, and wakes it.
pub(crate) struct Handle<K: Kernel> {
    /// Without a bound of its own: each connection in it has a permit.
    sender: Sender<Message<K>>,
    waker: K::Waker,
    /// Connections that the event loop has, or will find in its inbox.
    connections: Arc<AtomicUsize>,
}

/// The receiving end.
pub(crate) struct Inbox<K: Kernel>(Receiver<Message<K>>);

/// The inbox of an event loop that is woken by `waker`, and the handle of it.
pub(crate) fn inbox<K: Kernel>(waker: K::Waker) -> (Handle<K>, Inbox<K>) {
    let (sender, receiver) = channel();
    (Handle { sender, waker, connections: Arc::default() }, Inbox(receiver))
}

impl<K: Kernel> Clone for Handle<K> {
    fn clone(&self) -> Self {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        Self { sender, waker, connections: Arc::clone(&self.connections) }
    }
}

impl<K: Kernel> Handle<K> {
    /// Sends a message. One to an event loop that has ended is dropped: what ends it ends the daemon.
    pub(crate) fn send(&self, message: Message<K>) {
        let _ = self.sender.send(message);
        self.waker.wake();
    }

    /// Hands a connection over.
    pub(super) fn assign(&self, connection: Connection<K>) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.send(Message::Connection(connection));
    }

    /// What wakes it without a message.
    pub(crate) fn waker(&self) -> K::Waker {
        self.waker.clone()
    }

    /// How many connections it has, or will find in its inbox.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// [`Handle::connections`], for the event loop itself.
    pub(crate) fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.connections)
    }
}

impl<K: Kernel> Inbox<K> {
    /// The next message, if there is one.
    pub(super) fn next(&self) -> Option<Message<K>> {
        self.0.try_recv().ok()
    }
}
