//! What all connections share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemon::crowd::Crowd;
use daemon::supervisor::Supervised;
use daemon::words::Counted;
use protocol::Class;
use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::linger::MOST_LINGERING;
use crate::metrics::Metrics;
use crate::page;
use crate::places::Places;
use crate::settings::{Own, Settings};
use crate::stop::Stop;

/// Shared by the event loops, all connections, and `main`.
pub struct Context {
    /// What is counted.
    pub metrics: Metrics,
    /// What is logged.
    pub events: Events,
    /// Who may come in.
    pub places: Arc<Places>,
    /// Whether to stop.
    pub stop: Stop,
    /// The task that the event loops belong to, and those of lingering sockets.
    pub tasks: TaskTracker,
    lingering: Mutex<Crowd>,
    last_connection: AtomicU64,
}

impl Context {
    /// As `settings` say.
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::default(),
            events: Events::new(settings.common.log_events_per_second.get()),
            places: Places::new(settings.own.max_connections.as_usize()),
            stop: Stop::default(),
            tasks: TaskTracker::new(),
            lingering: Mutex::new(Crowd::new(MOST_LINGERING)),
            last_connection: AtomicU64::new(0),
        })
    }

    /// The next connection's running number.
    pub fn number_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lets a socket linger in a task of its own.
    pub fn let_linger(&self, lingering: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(lingering);
        self.lingering.lock().unwrap_or_else(PoisonError::into_inner).admit(task.abort_handle());
    }

    /// Waits until every connection has ended, and nothing lingers.
    pub async fn all_closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Says what it all came to.
    pub fn log_stopped(&self) {
        let metrics = &self.metrics;
        tracing::info!(
            forced = metrics.forced() + self.places.active() as u64,
            connections = metrics.connections(),
            large = metrics.numbers(Class::Large),
            even = metrics.numbers(Class::Even),
            odd = metrics.numbers(Class::Odd),
            rejected = metrics.rejected(),
            "stopped"
        );
    }
}

impl Supervised for Context {
    type Own = Own;

    fn status(&self) -> String {
        let metrics = &self.metrics;
        let [large, even, odd] = Class::ALL.map(|class| metrics.numbers(class));
        let active = self.places.active();
        let connections = Counted(self.places.limit() as u64, "connection");
        let numbers = Counted(large + even + odd, "number");
        format!("{active} of {connections}, {numbers} ({large} large, {even} even, {odd} odd)")
    }

    fn page(&self) -> String {
        page::of(self)
    }

    fn report(&self, uptime: Duration) {
        let metrics = &self.metrics;
        tracing::info!(
            uptime_s = uptime.as_secs(),
            active = self.places.active(),
            limit = self.places.limit(),
            connections = metrics.connections(),
            large = metrics.numbers(Class::Large),
            even = metrics.numbers(Class::Even),
            odd = metrics.numbers(Class::Odd),
            rejected = metrics.rejected(),
            "state"
        );
    }

    fn refill_budgets(&self, per_second: u32) -> u64 {
        self.events.refill(per_second)
    }

    fn own_metrics(&self) -> String {
        self.metrics.show(&self.places)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    use daemon::settings::start;
    use testkit::wait_until;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;
    use crate::linger::linger;
    use crate::metrics::Tally;
    use crate::settings::PROGRAM;
    use crate::socket::Socket;

    fn context(flags: &[&str]) -> Arc<Context> {
        let arguments = ["servidor"].iter().chain(flags).map(Into::into);
        Context::new(&start::<Own>(&PROGRAM, arguments).expect("settings in order").settings)
    }

    /// A peer, and the daemon's side of it, which has sent its FIN.
    fn finished(listener: &TcpListener) -> (TcpStream, Socket) {
        let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (socket, _) = listener.accept().expect("the peer has connected");
        socket.set_nonblocking(true).expect("a socket");
        let socket = Socket::from(OwnedFd::from(socket));
        socket.finish().expect("the peer is there");
        (peer, socket)
    }

    /// How many sockets linger once every task has done what it can while the clock stands still.
    async fn lingering(context: &Context) -> usize {
        for _ in 0..100 {
            yield_now().await;
        }
        context.tasks.len()
    }

    /// Whether the daemon's side is closed: the first byte then calls forth a reset, which the second meets.
    fn is_closed(mut peer: &TcpStream) -> bool {
        (0..2).any(|_| peer.write(b"2").is_err())
    }

    #[tokio::test(start_paused = true)]
    async fn sixty_four_linger_for_a_second_and_the_oldest_make_room() {
        let context = context(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut peers = Vec::new();
        for _ in 0..70 {
            let (peer, socket) = finished(&listener);
            context.let_linger(linger(socket.into_tokio().expect("a runtime"), None));
            peers.push(peer);
        }
        assert_eq!(lingering(&context).await, 64);
        let (oldest, others) = peers.split_at(6);
        for peer in oldest {
            wait_until("the oldest are closed", || is_closed(peer));
        }
        for _ in 0..3 {
            assert!(!others.iter().any(is_closed), "what they send is taken");
            assert_eq!(lingering(&context).await, 64);
        }

        advance(Duration::from_millis(999)).await;
        assert_eq!(lingering(&context).await, 64);
        advance(Duration::from_millis(2)).await;
        assert_eq!(lingering(&context).await, 0);
        for peer in others {
            wait_until("the others are closed as well", || is_closed(peer));
        }
    }

    #[test]
    fn the_status_tells_one_in_the_singular() {
        let context = context(&["--max-connections", "1"]);
        assert_eq!(context.status(), "0 of 1 connection, 0 numbers (0 large, 0 even, 0 odd)");
        let _place = context.places.take();
        context.metrics.batch(&Tally { numbers: [0, 1, 0], ..Tally::default() });
        assert_eq!(context.status(), "1 of 1 connection, 1 number (0 large, 1 even, 0 odd)");
    }
}
