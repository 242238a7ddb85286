//! A kernel without faults. Threads share only its wakers; a socket belongs to one event loop at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use daemon::sync::{Condvar, Mutex as SharedMutex, Notify};

use crate::kernel::{Errno, Interest, Kernel, Ready, Wake};

/// See the module.
#[derive(Default)]
pub(super) struct Modelled {
    waker: Waker,
    listeners: BTreeMap<usize, Listener>,
    sockets: BTreeMap<usize, (Socket, Interest)>,
    /// How long a wait may last at most. Longer ones have no end, and time stands still: what waits for them is lost.
    patience: Duration,
    passed: Duration,
}

/// What eventfd(2) and epoll(7) are to threads: the lock stands for theirs.
#[derive(Clone, Default)]
pub(super) struct Waker(Arc<(SharedMutex<bool>, Condvar)>);

/// A queue of connections.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<Mutex<VecDeque<Socket>>>);

/// A connection. Its peer's part is written down from the start.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Peer>>);

/// The peer of a connection.
#[derive(Default)]
pub(super) struct Peer {
    requests: VecDeque<u8>,
    pub(super) is_silent: bool,
    /// Whether it ends the connection after its requests. If not, it does so once the server has.
    leaves: bool,
    has_fin: bool,
    pub(super) replies: Vec<u8>,
    pub(super) closed: usize,
    /// Notified when the server ends the connection.
    end: Option<Arc<Notify>>,
}

impl Modelled {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }
}

impl Listener {
    pub(super) fn queue(&self, socket: &Socket) {
        self.0.lock().expect("nothing panics here").push_back(socket.clone());
    }
}

impl Socket {
    /// A peer that sends these requests.
    pub(super) fn asking(requests: &str, leaves: bool) -> Self {
        let (is_silent, requests) = (requests.is_empty(), requests.bytes().collect());
        Self(Arc::new(Mutex::new(Peer { requests, is_silent, leaves, ..Peer::default() })))
    }

    pub(super) fn peer(&self) -> MutexGuard<'_, Peer> {
        self.0.lock().expect("nothing panics here")
    }

    /// Notified when the server ends the connection.
    pub(super) fn end(&self) -> Arc<Notify> {
        Arc::clone(self.peer().end.get_or_insert_default())
    }

    fn is_readable(&self) -> bool {
        let peer = self.peer();
        !peer.requests.is_empty() || peer.leaves || peer.has_fin
    }

    fn close(&self) {
        let end = {
            let mut peer = self.peer();
            peer.closed += 1;
            peer.end.take()
        };
        if let Some(end) = end {
            end.notify();
        }
    }
}

impl Kernel for Modelled {
    type Listener = Listener;
    type Socket = Socket;
    type Waker = Waker;

    fn now(&self) -> Instant {
        static NOW: OnceLock<Instant> = OnceLock::new();
        *NOW.get_or_init(Instant::now) + self.passed
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Instant>) -> io::Result<()> {
        let is_due =
            |(socket, interest): &(Socket, Interest)| *interest != Interest::Read || socket.is_readable();
        let waiting = |listener: &Listener| !listener.0.lock().expect("nothing panics here").is_empty();
        ready.clear();
        let sockets = self.sockets.iter().filter(|(_, watched)| is_due(watched));
        ready.extend(sockets.map(|(key, _)| Ready::Connection(*key)));
        let listeners = self.listeners.iter().filter(|(_, listener)| waiting(listener));
        ready.extend(listeners.map(|(index, _)| Ready::Listener(*index)));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(self.now()));
        let ends = left.filter(|left| *left <= self.patience);
        if self.waker.is_readable(ready.is_empty() && ends.is_none()) {
            ready.push(Ready::Waker);
        } else if ready.is_empty() {
            self.passed += ends.unwrap_or_default();
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn acknowledge_wake(&mut self) {
        self.waker.acknowledge();
    }

    fn watch_listener(&mut self, listener: &Listener, index: usize) -> Result<(), Errno> {
        self.listeners.insert(index, listener.clone());
        Ok(())
    }

    fn forget_listener(&mut self, listener: &Listener) -> Result<(), Errno> {
        self.listeners.retain(|_, other| !Arc::ptr_eq(&other.0, &listener.0));
        Ok(())
    }

    fn close_listener(&mut self, listener: Listener) {
        drop(listener);
    }

    fn accept(&mut self, listener: &Listener) -> Result<(Socket, SocketAddr), Errno> {
        let first = listener.0.lock().expect("nothing panics here").pop_front();
        Ok((first.ok_or(Errno::AGAIN)?, ([192, 0, 2, 1], 1024).into()))
    }

    fn watch(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        self.sockets.insert(key, (socket.clone(), interest));
        Ok(())
    }

    fn change(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        self.forget(socket)?;
        self.watch(socket, key, interest)
    }

    fn forget(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.sockets.retain(|_, (other, _)| !Arc::ptr_eq(&other.0, &socket.0));
        Ok(())
    }

    fn undelivered(&mut self, _socket: &Socket) -> usize {
        0
    }

    fn receive(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !socket.is_readable() {
            return Err(Errno::AGAIN);
        }
        let mut peer = socket.peer();
        let requests = std::mem::take(&mut peer.requests);
        for (to, from) in buffer.iter_mut().zip(&requests) {
            *to = *from;
        }
        Ok(requests.len())
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
        socket.peer().replies.extend(bytes);
        Ok(bytes.len())
    }

    fn shut_down(&mut self, socket: &Socket) -> Result<(), Errno> {
        socket.peer().has_fin = true;
        Ok(())
    }

    fn close(&mut self, socket: Socket) {
        let _ = self.forget(&socket);
        socket.close();
    }

    fn reset(&mut self, socket: Socket) {
        self.close(socket);
    }
}

impl Waker {
    /// Whether it was woken. If it `waits`, it has been.
    pub(super) fn is_readable(&self, waits: bool) -> bool {
        let (state, woken) = &*self.0;
        let mut is_readable = state.lock().expect("nothing panics here");
        while waits && !*is_readable {
            is_readable = woken.wait(is_readable).expect("nothing panics here");
        }
        *is_readable
    }

    /// It is no longer readable.
    pub(super) fn acknowledge(&self) {
        *self.0.0.lock().expect("nothing panics here") = false;
    }
}

impl Wake for Waker {
    fn wake(&self) {
        let (state, woken) = &*self.0;
        *state.lock().expect("nothing panics here") = true;
        woken.notify_one();
    }
}
