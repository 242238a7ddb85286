//! An event loop: one thread that serves many connections, and the first one also lets them in.
//!
//! It is a thread beside the runtime, since a task of the runtime for each connection costs more: see ARCHITECTURE.md.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use daemon::notify::Pulse;
use tokio::time::Instant;

use crate::accept::Reception;
use crate::bell::Bell;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::exchange::Scratch;
use crate::poller::{Events, Interest, Poller, Source};
use crate::socket::Socket;

/// See the module.
pub(crate) struct EventLoop {
    poller: Arc<Poller>,
    bell: Bell,
    intake: Intake,
    connections: Connections,
}

/// Where connections come from.
enum Intake {
    /// From outside.
    Reception(Reception),
    /// From the event loop that has the reception.
    Queue(Receiver<Connection<Socket>>),
    /// From nowhere any more: the daemon is stopping.
    Closed,
}

/// The way into another event loop.
pub(crate) struct Entrance {
    /// Without a bound of its own: whoever is in it has a place, and of those there are only so many.
    queue: Sender<Connection<Socket>>,
    /// Rings for the last time when the queue has been closed.
    bell: LastRing,
    admitted: usize,
    closed: Arc<AtomicUsize>,
}

struct LastRing(Bell);

impl EventLoop {
    /// One whose connections come by the entrance.
    ///
    /// # Errors
    ///
    /// If there is no room for its files.
    pub(crate) fn new() -> io::Result<(Entrance, Self)> {
        let (sender, queue) = channel();
        let event_loop = Self::with(Arc::new(Poller::new()?), Intake::Queue(queue))?;
        let (bell, closed) = (LastRing(event_loop.bell()), event_loop.connections.closed());
        Ok((Entrance { queue: sender, bell, admitted: 0, closed }, event_loop))
    }

    /// The one with the reception, which has been made with the same `poller`.
    ///
    /// # Errors
    ///
    /// If there is no room for its files.
    pub(crate) fn with_reception(poller: Arc<Poller>, reception: Reception) -> io::Result<Self> {
        Self::with(poller, Intake::Reception(reception))
    }

    fn with(poller: Arc<Poller>, intake: Intake) -> io::Result<Self> {
        let bell = Bell::new()?;
        poller.watch(&bell, Source::Bell, Interest::Read)?;
        Ok(Self { connections: Connections::new(Arc::clone(&poller)), poller, bell, intake })
    }

    /// Rings when the settings change, a place is free, or the daemon stops.
    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Serves until nobody comes any more and nobody is left. `pulse` shows that it goes on.
    ///
    /// # Errors
    ///
    /// If epoll fails.
    pub(crate) fn run(mut self, pulse: &Pulse) -> io::Result<()> {
        let mut events = Events::new();
        let mut scratch = Scratch::default();
        while !self.is_over() {
            let until =
                [self.connections.next_alarm(), self.intake.next_alarm(), pulse.due_after(scratch.now)];
            let until = until.into_iter().flatten().min();
            let ready = self.poller.wait(&mut events, scratch.now, until)?;
            scratch.now = Instant::now();
            for source in ready {
                match source {
                    Source::Connection(key) => self.connections.serve(key, &mut scratch),
                    Source::Listener(index) => self.accept_from(index, &mut scratch),
                    Source::Bell => self.heed_bell(&mut scratch),
                }
            }
            self.connections.sound_alarms(&mut scratch);
            if let Intake::Reception(reception) = &mut self.intake {
                reception.open_if_possible(scratch.now);
            }
            pulse.beat();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        matches!(self.intake, Intake::Closed) && self.connections.count() == 0
    }

    fn accept_from(&mut self, index: usize, scratch: &mut Scratch) {
        if let Intake::Reception(reception) = &mut self.intake
            && let Some(connection) = reception.accept_from(index, self.connections.count(), scratch.now)
        {
            self.connections.add(connection);
        }
        // What accepting takes is not to be put down to whoever is served next.
        scratch.now = Instant::now();
    }

    fn heed_bell(&mut self, scratch: &mut Scratch) {
        self.bell.silence();
        let is_closed = match &mut self.intake {
            Intake::Reception(reception) => {
                reception.adopt_settings();
                reception.is_to_close()
            }
            Intake::Queue(queue) => loop {
                match queue.try_recv() {
                    Ok(connection) => self.connections.add(connection),
                    Err(error) => break error == TryRecvError::Disconnected,
                }
            },
            Intake::Closed => false,
        };
        if is_closed {
            if let Intake::Reception(reception) = std::mem::replace(&mut self.intake, Intake::Closed) {
                for connection in reception.close(self.connections.count()) {
                    self.connections.add(connection);
                }
            }
            self.connections.wind_up(scratch);
        }
    }
}

impl Intake {
    /// When to look after it, if nothing happens before.
    fn next_alarm(&self) -> Option<Instant> {
        match self {
            Self::Reception(reception) => reception.next_alarm(),
            Self::Queue(_) | Self::Closed => None,
        }
    }
}

impl Entrance {
    /// How many connections have gone in and not been closed.
    pub(crate) fn count(&self) -> usize {
        self.admitted - self.closed.load(Ordering::Relaxed)
    }

    /// Lets a connection in.
    pub(crate) fn admit(&mut self, connection: Connection<Socket>) {
        self.admitted += 1;
        // An event loop that has failed takes the daemon along.
        let _ = self.queue.send(connection);
        self.bell.0.ring();
    }
}

impl Drop for LastRing {
    fn drop(&mut self) {
        self.0.ring();
    }
}
