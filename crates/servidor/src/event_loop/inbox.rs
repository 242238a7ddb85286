//! The inbox of an event loop: other threads send it connections, settings and the stop.

use std::sync::Arc;

use daemon::sync::{Receiver, Sender, channel};

use super::{EventLoop, Source};
use crate::connection::Connection;
use crate::drain::Drain;
use crate::kernel::{Kernel, Wake as _};
use crate::settings::Own;

/// A message to an event loop.
pub(crate) enum Message<K: Kernel> {
    /// A connection to serve.
    Connection(Connection<K>),
    /// No more connections will follow.
    LastConnection,
    /// New settings.
    Settings(Arc<Own>),
    /// The daemon stops.
    Stop(Drain),
}

/// The receiving end.
pub(crate) type Inbox<K> = Receiver<Message<K>>;

/// Sends to an event loop, and wakes it.
pub(crate) struct Handle<K: Kernel> {
    /// It needs no bound: each connection in it has a permit.
    sender: Sender<Message<K>>,
    waker: K::Waker,
}

/// The inbox of the event loop that `waker` wakes, and a handle to it.
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
    /// Sends a message. If the event loop has ended, the message is dropped: the daemon is ending too.
    pub(crate) fn send(&self, message: Message<K>) {
        let _ = self.sender.send(message);
        self.waker.wake();
    }

    /// Wakes the event loop without a message.
    pub(crate) fn waker(&self) -> K::Waker {
        self.waker.clone()
    }
}

impl<K: Kernel> EventLoop<K> {
    /// Handles a message.
    pub(super) fn receive(&mut self, message: Message<K>) {
        match message {
            Message::Connection(connection) => self.connections.add(connection),
            Message::LastConnection => self.source = Source::None,
            Message::Settings(settings) => {
                // The limit changes together with `overload`, which decides what happens at the limit.
                let env = &mut self.connections.env;
                env.settings = settings;
                if let Source::Acceptor(acceptor) = &mut self.source {
                    env.context.limit.set_limit(env.settings.max_connections.as_usize());
                    acceptor.apply_settings(env);
                }
                self.connections.apply_settings();
            }
            Message::Stop(drain) => {
                #[cfg(feature = "simulation")]
                crate::fail_point::reached("drain", self.connections.env.event_loop as u64);
                self.connections.env.drain = Some(drain);
                self.connections.drain();
            }
        }
    }
}
