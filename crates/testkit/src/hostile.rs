//! Peers that misbehave, and an honest client beside them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::Peer;

/// How many of a kind misbehave at the same time.
const PEERS: usize = 5;
/// Whom the service must not allow.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Peers that come and go use few ports, so that the kernel tracks few connections.
const PORTS: u32 = 1000;
const FIRST_PORT: u16 = 11_000;
/// More than what the HTTP side serves at once.
const HALF_OPEN: usize = 40;

/// A kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Five peers that send a byte a second after their first request, which could be taken for whole without a line end.
    Tricklers,
    /// Five peers that send nothing.
    Silent,
    /// Five peers that ask as much as they can, and read nothing.
    NeverReading,
    /// A thousand peers a second that send half a line, and reset.
    Resetters,
    /// Scrapes without a pause, and HTTP peers that send nothing or send slowly.
    Http,
    /// As many peers as possible whose network is not allowed.
    Strangers,
}

/// Peers that misbehave until this is dropped.
#[derive(Debug)]
pub struct Hostile {
    acts: Arc<AtomicU64>,
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

/// What a thread of them has.
struct Actor {
    stop: Receiver<()>,
    acts: Arc<AtomicU64>,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Tricklers, Self::Silent, Self::NeverReading, Self::Resetters, Self::Http, Self::Strangers];

    /// In a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tricklers => "five that send a byte a second",
            Self::Silent => "five that send nothing",
            Self::NeverReading => "five that never read",
            Self::Resetters => "resets, 1,000 a second",
            Self::Http => "scrapes, half-open and slow HTTP peers",
            Self::Strangers => "strangers in a flood",
        }
    }

    /// How many connections the service should serve: a few more than these peers and an honest client have. Of strangers it
    /// serves none, so there the honest client fills it.
    pub fn places(self) -> usize {
        if self == Self::Strangers { 2 } else { 16 }
    }

    /// Misbehaves towards this service and its HTTP side.
    pub fn begin(self, service: SocketAddr, http: SocketAddr) -> Hostile {
        let mut hostile = Hostile { acts: Arc::default(), threads: Vec::new() };
        let second = Duration::from_secs(1);
        match self {
            Self::Tricklers => hostile.act(move |actor| actor.keep(service, b"7\n", b"1", second)),
            Self::Silent => hostile.act(move |actor| actor.keep(service, b"", b"", second / 10)),
            Self::NeverReading => {
                let requests = b"123456789012345678901234567890\n".repeat(1000);
                hostile.act(move |actor| actor.keep(service, b"", &requests, second / 100));
            }
            Self::Resetters => {
                hostile.act(move |actor| actor.come_and_go(Ipv4Addr::LOCALHOST, service, second / 1000));
            }
            Self::Strangers => {
                hostile.act(move |actor| actor.come_and_go(STRANGER, service, Duration::ZERO));
            }
            Self::Http => {
                hostile.act(move |actor| actor.scrape(http));
                hostile.act(move |actor| actor.leave_half_open(http));
                hostile.act(move |actor| actor.keep(http, b"", b"G", second / 10));
            }
        }
        hostile
    }
}

impl Hostile {
    fn act(&mut self, run: impl FnOnce(&Actor) + Send + 'static) {
        let (sender, stop) = channel();
        let actor = Actor { stop, acts: Arc::clone(&self.acts) };
        self.threads.push((sender, thread::spawn(move || run(&actor))));
    }

    /// How often they have connected, sent or asked.
    pub fn acts(&self) -> u64 {
        self.acts.load(Ordering::Relaxed)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let (senders, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(senders);
        let panicked = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        assert!(panicked == 0 || thread::panicking(), "{panicked} hostile threads panicked");
    }
}

impl Actor {
    fn count(&self) {
        self.acts.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether to go on after a pause.
    fn pause(&self, time: Duration) -> bool {
        self.stop.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    /// Keeps some connections open. Each sends `first`, then `bytes` again and again, with a pause, and does not read.
    fn keep(&self, to: SocketAddr, first: &[u8], bytes: &[u8], pause: Duration) {
        let mut peers: Vec<Option<TcpStream>> = (0..PEERS).map(|_| None).collect();
        while self.pause(pause) {
            for slot in &mut peers {
                let Some(peer) = slot else {
                    // The kernel may lack ports for a while.
                    let Ok(mut peer) = nonblocking(Ipv4Addr::LOCALHOST, 0, to) else { continue };
                    let _ = peer.write(first);
                    self.count();
                    *slot = Some(peer);
                    continue;
                };
                let outcome = if bytes.is_empty() { peer.read(&mut [0]) } else { peer.write(bytes) };
                match outcome {
                    Ok(1..) => self.count(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The daemon has ended it: another one takes its place.
                    _ => *slot = None,
                }
            }
        }
    }

    /// Connects and resets, once in this time on average.
    fn come_and_go(&self, source: Ipv4Addr, to: SocketAddr, every: Duration) {
        const AT_ONCE: u32 = 10;
        let begun = Instant::now();
        for turn in 0_u32.. {
            let due = begun + every * turn;
            if turn % AT_ONCE == 0 && !self.pause(due.saturating_duration_since(Instant::now())) {
                return;
            }
            let port = FIRST_PORT + u16::try_from(turn % PORTS).expect("it is below a u16");
            // The port may be in use, or the queue full.
            let Ok(mut peer) = nonblocking(source, port, to) else { continue };
            if peer.write(b"12").is_ok() {
                self.count();
            }
            let _ = sockopt::set_socket_linger(&peer, Some(Duration::ZERO));
        }
    }

    fn scrape(&self, http: SocketAddr) {
        while self.pause(Duration::ZERO) {
            // It may be given up in favour of others.
            if crate::get(http, "/metrics").is_ok() {
                self.count();
            }
        }
    }

    /// Opens HTTP connections, and leaves the latest ones open.
    fn leave_half_open(&self, http: SocketAddr) {
        let mut open = std::collections::VecDeque::new();
        while self.pause(Duration::from_millis(10)) {
            open.extend(nonblocking(Ipv4Addr::LOCALHOST, 0, http).ok());
            self.count();
            if open.len() > HALF_OPEN {
                open.pop_front();
            }
        }
    }
}

/// Connects without waiting. On this host, the handshake is done by then unless the queue is full.
fn nonblocking(source: Ipv4Addr, port: u16, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(source, port))?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// A client that asks one number of each class in turn, by a fresh connection and by one that it keeps.
#[derive(Debug)]
pub struct Honest {
    service: SocketAddr,
    kept: Peer,
    rounds: usize,
}

impl Honest {
    const ROUNDS: [(&str, &str); 3] =
        [("4\n", "PAR\n"), ("-7\n", "ÍMPAR\n"), ("012345678901\n", "12345678901\n")];

    /// Connects.
    pub fn connect(service: SocketAddr) -> Self {
        Self { service, kept: Peer::connect(service), rounds: 0 }
    }

    /// Two rounds. Returns how long that by a fresh connection took, and that by the kept one. A wrong reply is a panic.
    pub fn rounds(&mut self) -> [Duration; 2] {
        let (request, reply) = Self::ROUNDS[self.rounds % Self::ROUNDS.len()];
        self.rounds += 1;
        let begun = Instant::now();
        assert_eq!(Peer::connect(self.service).ask(request), reply, "by a fresh connection");
        let fresh = begun.elapsed();
        let begun = Instant::now();
        assert_eq!(self.kept.ask(request), reply, "by the kept connection");
        [fresh, begun.elapsed()]
    }
}
