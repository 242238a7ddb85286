//! What other threads send to an event loop: connections, settings, the stop.

use std::sync::Arc;
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

/// The receiving end.
pub(crate) type Inbox<K> = Receiver<Message<K>>;

/// Sends to an event loop, and wakes it.
pub(crate) struct Handle<K: Kernel> {
    /// Without a bound of its own: each connection in it has a permit.
    sender: Sender<Message<K>>,
    waker: K::Waker,
}

/// The inbox of an event loop that is woken by `waker`, and the handle of it.
pub(crate) fn inbox<K: Kernel>(waker: K::Waker) -> (Handle<K>, Inbox<K>) {
    let (sender, receiver) = channel();
    (Handle { sender, waker }, receiver)
}

impl<K: Kernel> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<K: Kernel> Handle<K> {
    /// Sends a message. One to an event loop that has ended is dropped: what ends it ends the daemon.
    pub(crate) fn send(&self, message: Message<K>) {
        let _ = self.sender.send(message);
        self.waker.wake();
    }

    /// What wakes the event loop without a message.
    pub(crate) fn waker(&self) -> K::Waker {
        self.waker.clone()
    }
}
