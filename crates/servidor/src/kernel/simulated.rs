//! The simulated kernel, as one event loop sees it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Errno, Interest, Kernel, Ready, Wake};
use crate::simulation::driver::Threads;
use crate::simulation::world::World;

/// See the module.
pub(crate) struct Simulated {
    me: usize,
    shared: Shared,
    /// The other event loops, which may run during a call of this one.
    threads: Rc<Threads>,
}

/// A simulated world, and the time when it began.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) base: Instant,
}

/// A connected socket. Dropping it closes it.
pub(crate) struct Socket {
    link: usize,
    me: usize,
    shared: Shared,
    is_closed: bool,
}

/// A listening socket. Dropping it closes it.
pub(crate) struct Listener {
    index: usize,
    shared: Shared,
    is_closed: bool,
}

/// Wakes an event loop.
#[derive(Clone)]
pub(crate) struct Waker {
    me: usize,
    shared: Shared,
    threads: Rc<Threads>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic ends the run, which then reports the state of the world.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn instant(&self, now: u64) -> Instant {
        self.base + Duration::from_nanos(now)
    }

    pub(crate) fn nanoseconds(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.base).as_nanos();
        u64::try_from(since).expect("a run takes no centuries")
    }
}

impl Listener {
    pub(crate) fn new(index: usize, shared: Shared) -> Self {
        Self { index, shared, is_closed: false }
    }
}

impl Simulated {
    pub(crate) fn new(me: usize, shared: Shared, threads: Rc<Threads>) -> Self {
        Self { me, shared, threads }
    }

    /// The world. The thread may be preempted first.
    fn world(&self) -> MutexGuard<'_, World> {
        self.threads.preempt();
        self.shared.world()
    }
}

impl Kernel for Simulated {
    type Listener = Listener;
    type Socket = Socket;
    type Waker = Waker;

    fn now(&self) -> Instant {
        let mut world = self.world();
        self.shared.instant(world.read_clock(self.me))
    }

    /// Never waits: the driver runs an event loop when its wait would end.
    fn wait(&mut self, ready: &mut Vec<Ready>, _deadline: Option<Instant>) -> io::Result<()> {
        self.world().wait(self.me, ready);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker { me: self.me, shared: self.shared.clone(), threads: Rc::clone(&self.threads) }
    }

    fn acknowledge_wake(&mut self) {
        self.world().acknowledge_wake(self.me);
    }

    fn watch_listener(&mut self, listener: &Listener, index: usize) -> Result<(), Errno> {
        self.world().watch_listener(self.me, listener.index, index)
    }

    fn forget_listener(&mut self, listener: &Listener) -> Result<(), Errno> {
        self.world().forget_listener(self.me, listener.index);
        Ok(())
    }

    fn close_listener(&mut self, mut listener: Listener) {
        listener.is_closed = true;
        self.world().close_listener(listener.index);
    }

    fn accept(&mut self, listener: &Listener) -> Result<(Socket, SocketAddr), Errno> {
        let mut world = self.world();
        let link = world.accept(self.me, listener.index)?;
        let socket = Socket { link, me: self.me, shared: self.shared.clone(), is_closed: false };
        Ok((socket, world.address(link)))
    }

    fn watch(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        self.world().watch(self.me, socket.link, key, interest)
    }

    fn change(&mut self, socket: &Socket, key: usize, interest: Interest) -> Result<(), Errno> {
        self.world().change(self.me, socket.link, key, interest)
    }

    fn forget(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.world().forget(self.me, socket.link);
        Ok(())
    }

    fn undelivered(&mut self, socket: &Socket) -> usize {
        self.world().undelivered(self.me, socket.link)
    }

    fn receive(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.world().receive(self.me, socket.link, buffer)
    }

    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
        self.world().send(self.me, socket.link, bytes)
    }

    fn shut_down(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.world().shut_down(self.me, socket.link)
    }

    fn close(&mut self, mut socket: Socket) {
        socket.is_closed = true;
        self.world().close(self.me, socket.link);
    }

    fn reset(&mut self, mut socket: Socket) {
        socket.is_closed = true;
        self.world().reset(self.me, socket.link);
    }
}

impl Wake for Waker {
    fn wake(&self) {
        self.shared.world().wake(self.me);
        // The woken event loop may run before this one continues.
        self.threads.preempt();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.is_closed && !std::thread::panicking() {
            self.shared.world().close(self.me, self.link);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.is_closed && !std::thread::panicking() {
            self.shared.world().close_listener(self.index);
        }
    }
}
