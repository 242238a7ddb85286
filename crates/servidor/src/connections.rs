//! The connections of one event loop: added, served when the kernel says so, alarmed when their time is up, closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::connection::{Connection, Next};
use crate::exchange::Scratch;
use crate::linger::linger;
use crate::metrics::Reason;
use crate::poller::{Interest, Poller, Source};
use crate::socket::Socket;

/// Alarms may be so late: looking for those that are due takes a look at every connection.
const ALARM_GRAIN: Duration = Duration::from_millis(10);

/// See the module.
pub(crate) struct Connections {
    poller: Arc<Poller>,
    all: Slab<Connection<Socket>>,
    /// How many have been closed, for whoever shares new ones out.
    closed: Arc<AtomicUsize>,
    /// No alarm goes off earlier; most go off later, since a connection puts its own off with each request.
    earliest_alarm: Option<Instant>,
    last_look: Instant,
}

impl Connections {
    /// None yet; `poller` is to tell when they are ready.
    pub(crate) fn new(poller: Arc<Poller>) -> Self {
        let last_look = Instant::now();
        Self { poller, all: Slab::new(), closed: Arc::default(), earliest_alarm: None, last_look }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn closed(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.closed)
    }

    /// Serves `connection` from now on.
    pub(crate) fn add(&mut self, connection: Connection<Socket>) {
        let key = self.all.insert(connection);
        match self.poller.watch(self.all[key].stream(), Source::Connection(key), Interest::Read) {
            Ok(()) => heed(&mut self.earliest_alarm, self.all[key].alarm().0),
            Err(_) => self.close(key, Reason::Io),
        }
    }

    /// Serves the connection that is ready.
    pub(crate) fn serve(&mut self, key: usize, scratch: &mut Scratch) {
        let before = scratch.now;
        self.step(key, |connection| connection.proceed(scratch));
        if scratch.now == before {
            // Nothing was answered: what this took is not to be put down to whoever is served next.
            scratch.now = Instant::now();
        }
    }

    /// Lets every connection go on: the stop has begun.
    pub(crate) fn wind_up(&mut self, scratch: &mut Scratch) {
        let keys: Vec<usize> = self.all.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.serve(key, scratch);
        }
    }

    /// When to call [`Connections::sound_alarms`].
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.earliest_alarm.map(|alarm| alarm.max(self.last_look + ALARM_GRAIN))
    }

    /// Acts on the alarms that are due.
    pub(crate) fn sound_alarms(&mut self, scratch: &mut Scratch) {
        let now = scratch.now;
        if self.next_alarm().is_none_or(|alarm| alarm > now) {
            return;
        }
        self.last_look = now;
        self.earliest_alarm = None;
        let mut due = Vec::new();
        for (key, connection) in &self.all {
            let (alarm, reason) = connection.alarm();
            if alarm <= now {
                due.push((key, reason));
            } else {
                heed(&mut self.earliest_alarm, alarm);
            }
        }
        for (key, reason) in due {
            self.step(key, |connection| connection.time_is_up(reason, scratch));
        }
    }

    /// One step of a connection, unless it has been closed since the kernel told of it.
    fn step(&mut self, key: usize, step: impl FnOnce(&mut Connection<Socket>) -> Next) {
        let Some(connection) = self.all.get_mut(key) else { return };
        let awaited = connection.awaits();
        let next = sheltered(|| step(connection));
        let outcome = match next {
            Next::Close(reason) => Err(reason),
            Next::Await(interest) if interest == awaited => Ok(()),
            Next::Await(interest) => {
                let changed = self.poller.change(connection.stream(), Source::Connection(key), interest);
                changed.map_err(|_| Reason::Io)
            }
        };
        let alarm = connection.alarm().0;
        match outcome {
            Ok(()) => heed(&mut self.earliest_alarm, alarm),
            Err(reason) => self.close(key, reason),
        }
    }

    /// Closes in good manners: with a FIN, and unless the peer's has come or it is not waited for, no RST.
    fn close(&mut self, key: usize, reason: Reason) {
        let (socket, mut open) = self.all.remove(key).into_parts();
        self.closed.fetch_add(1, Ordering::Relaxed);
        open.reason = Some(reason);
        if matches!(reason, Reason::Client | Reason::Io | Reason::Forced | Reason::Panic) {
            drop(socket);
        } else {
            // A failed shutdown means that the peer has gone.
            let _ = socket.finish();
            self.poller.forget(&socket);
            if let Ok(stream) = socket.into_tokio() {
                let by = open.context.stop.if_begun().map(|deadlines| deadlines.forced);
                open.context.let_linger(linger(stream, by));
            }
        }
        // The place is free at the FIN, not when the peer has taken note.
        drop(open);
    }
}

fn heed(earliest: &mut Option<Instant>, alarm: Instant) {
    if earliest.is_none_or(|earliest| alarm < earliest) {
        *earliest = Some(alarm);
    }
}

/// A fault of this program ends the connection that it met, and no other.
fn sheltered(step: impl FnOnce() -> Next) -> Next {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or(Next::Close(Reason::Panic))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::context::Context;
    use crate::open::Open;
    use crate::settings::{Own, PROGRAM};

    #[tokio::test]
    async fn a_panic_ends_its_connection_alone_and_is_counted_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let settings = daemon::settings::start::<Own>(&PROGRAM, ["servidor".into()])
            .expect("the defaults are in order")
            .settings;
        let context = Context::new(&settings);
        let mut connections = Connections::new(Arc::new(Poller::new().expect("an epoll")));
        let settings = Arc::new(settings.own);
        let peers = [1, 2].map(|port| {
            let (peer, socket) = UnixStream::pair().expect("two sockets");
            let open = Open::begin(Arc::clone(&context), SocketAddr::from(([127, 0, 0, 1], port)));
            connections.add(Connection::new(OwnedFd::from(socket).into(), open, Arc::clone(&settings)));
            peer
        });
        assert_eq!(context.places.active(), 2);

        connections.step(0, |_| panic!("a fault of this program"));

        assert_eq!(context.places.active(), 1);
        assert_eq!(connections.closed.load(Ordering::Relaxed), 1);
        assert!(!connections.all.contains(0) && connections.all.contains(1));
        drop(connections);
        drop(peers);
        metrics::with_local_recorder(&recorder, || context.metrics.show(&context.places));
        let metrics = recorder.handle().render();
        let closed = |reason: &str| format!("servidor_connections_closed_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&format!("{} 1\n", closed("panic"))), "{metrics}");
        // The other was cut short with its event loop.
        assert!(metrics.contains(&format!("{} 1\n", closed("forced"))), "{metrics}");
    }
}
