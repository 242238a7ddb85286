//! Peers that `allow` excludes, while all permits are taken: they keep no allowed peer out.

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::{start, start_inheriting};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use socket2::{Domain, SockRef, Socket, Type};
use tempfile::NamedTempFile;
use testkit::{Daemon, Peer, Signal, let_pass, scrape, scrape_until, wait_until};

const ALLOWED: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How many connections the kernel's queue holds. It allows one more than it is told.
const BACKLOG: i32 = 4;
/// How many allowed connections are held while all permits are taken.
const MAX_HELD: usize = 16;

/// A daemon with a permit for one connection, the peer that has it, and how many sockets the daemon has.
struct Full {
    daemon: Daemon,
    served: Peer,
    sockets: usize,
}

impl Full {
    fn of(daemon: Daemon) -> Self {
        let mut served = Peer::connect(daemon.address());
        assert_eq!(served.ask("7\n"), "ÍMPAR\n");
        let sockets = daemon.open_sockets();
        Self { daemon, served, sockets }
    }

    /// Serves peers of one address.
    fn start() -> Self {
        Self::of(start(&["--allow", "127.0.0.1/32", "--max-connections", "1"]))
    }

    /// The same, and the settings are in a file.
    fn start_from_file() -> (Self, NamedTempFile) {
        let file = NamedTempFile::new().expect("a temporary file");
        fs::write(&file, "allow = [\"127.0.0.1/32\"]\nmax-connections = 1\n").expect("it can be written");
        (Self::of(start(&["--config", file.path().to_str().expect("a path in UTF-8")])), file)
    }

    /// Connects a peer, and waits until the daemon holds that many.
    fn hold(&self, held: usize) -> Peer {
        let peer = Peer::connect(self.daemon.address());
        wait_until("it is held", || self.held() == held);
        peer
    }

    fn held(&self) -> usize {
        self.daemon.open_sockets() - self.sockets
    }

    /// Asks twice: by the second reply, the event loop has had a turn in which it could have accepted.
    fn let_it_turn(&mut self) {
        for _ in 0..2 {
            assert_eq!(self.served.ask("8\n"), "PAR\n");
        }
    }

    fn reload(&self, file: &NamedTempFile, settings: &str) {
        fs::write(file, settings).expect("it can be written");
        self.daemon.signal(Signal::HUP);
    }

    fn refused(&self, reason: &str) -> u64 {
        scrape(self.daemon.metrics_address())
            .count("servidor_connections_refused_total", &[("reason", reason)])
    }

    fn connections(&self) -> u64 {
        scrape(self.daemon.metrics_address()).count("servidor_connections_total", &[])
    }
}

/// A listener whose queue is short.
fn short_queue() -> OwnedFd {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((ALLOWED, 0)).into()).expect("a free port");
    socket.listen(BACKLOG).expect("a bound socket");
    socket.into()
}

/// Begins to connect from an address that is not allowed, and does not wait for it.
fn stranger(to: SocketAddr) -> OwnedFd {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None);
    let socket = socket.expect("a socket");
    bind(&socket, &SocketAddrV4::new(STRANGER, 0)).expect("all of 127.0.0.0/8 is this host");
    assert_eq!(connect(&socket, &to), Err(Errno::INPROGRESS));
    socket
}

#[test]
fn strangers_keep_no_allowed_peer_out() {
    let arguments = ["--allow", "127.0.0.1/32", "--max-connections", "1"];
    let mut full = Full::of(start_inheriting(short_queue(), &arguments));
    let address = full.daemon.address();
    let strangers: Vec<OwnedFd> = (0..20).map(|_| stranger(address)).collect();
    // A queue that overflows may lose the end of a handshake. Whoever sends something makes up for it.
    let waiting = [(); 2].map(|()| {
        let mut peer = Peer::connect(address);
        peer.send("2\n");
        peer
    });
    wait_until("both are held", || full.held() == 2);
    assert!(full.refused("not_allowed") > 0, "the strangers that stood in the queue are closed");
    assert_eq!(full.connections(), 1, "nobody else is served");
    assert_eq!(full.served.ask("8\n"), "PAR\n");
    drop(full.served);
    for mut peer in waiting {
        assert_eq!(peer.line(), "PAR\n");
    }
    drop(strangers);
}

#[test]
fn strangers_are_closed_and_counted_while_all_permits_are_taken() {
    let full = Full::start();
    let _held = full.hold(1);
    for count in 1..=10 {
        assert_eq!(Peer::connect_from(STRANGER, full.daemon.address()).rest(), "");
        assert_eq!(full.refused("not_allowed"), count);
    }
    assert_eq!(full.connections(), 1);
}

#[test]
fn held_connections_get_their_permits_in_the_order_of_their_arrival() {
    let full = Full::start();
    let mut held: Vec<Peer> = (1..=3).map(|count| full.hold(count)).collect();
    for peer in &mut held {
        peer.send("2\n");
    }
    drop(full.served);
    for (index, mut peer) in held.into_iter().enumerate() {
        assert_eq!(peer.line(), "PAR\n");
        let metrics = scrape(full.daemon.metrics_address());
        assert_eq!(metrics.count("servidor_connections_active", &[]), 1);
        assert_eq!(metrics.count("servidor_connections_total", &[]), 2 + index as u64);
    }
}

#[test]
fn no_more_than_sixteen_are_held_and_the_others_wait_in_the_queue() {
    let mut full = Full::start();
    let mut waiting: Vec<Peer> = (1..=MAX_HELD).map(|count| full.hold(count)).collect();
    waiting.extend((0..4).map(|_| Peer::connect(full.daemon.address())));
    for peer in &mut waiting {
        peer.send("2\n");
    }
    full.let_it_turn();
    assert_eq!(full.held(), MAX_HELD);
    let Full { daemon, served, sockets } = full;
    drop(served);
    for mut peer in waiting {
        assert_eq!(peer.line(), "PAR\n");
        assert!(daemon.open_sockets() <= sockets + MAX_HELD);
    }
}

#[test]
fn where_everyone_is_allowed_connections_wait_in_the_queue() {
    let mut full = Full::of(start(&["--allow", "0.0.0.0/0,::/0", "--max-connections", "1"]));
    let mut waiting = Peer::connect(full.daemon.address());
    waiting.send("2\n");
    full.let_it_turn();
    assert_eq!(full.held(), 0);
    drop(full.served);
    assert_eq!(waiting.line(), "PAR\n");
}

#[test]
fn a_held_connection_is_idle_from_its_permit_on() {
    let Full { daemon, mut served, .. } =
        Full::of(start(&["--max-connections", "1", "--idle-timeout", "1s"]));
    // The permit is free once the peer that has it has been idle: nearly as long as the held one has waited.
    let mut held = Peer::connect(daemon.address());
    let name = held.name();
    assert_eq!(served.rest(), "");
    assert_eq!(held.rest(), "");
    let closed = daemon.wait_for_line("the end", |line| {
        line["message"] == "connection closed" && line["peer"] == name.as_str()
    });
    assert_eq!(closed["reason"], "idle");
    assert!(closed["duration_ms"].as_u64().is_some_and(|duration| duration >= 1000), "{closed}");
}

#[test]
fn a_held_peer_that_leaves_is_followed_by_the_next_one() {
    let full = Full::start();
    let (closed, reset) = (full.hold(1), full.hold(2));
    let mut last = full.hold(3);
    SockRef::from(reset.stream()).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    drop((closed, reset));
    drop(full.served);
    assert_eq!(last.ask("2\n"), "PAR\n");
    let metrics = scrape_until(full.daemon.metrics_address(), "all others have ended", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 1
    });
    assert_eq!(metrics.count("servidor_connections_total", &[]), 4);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "client")]), 2);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "io")]), 1);
}

#[test]
fn a_reload_closes_held_connections_that_are_no_longer_allowed() {
    let (mut full, file) = Full::start_from_file();
    let mut held = full.hold(1);
    full.reload(&file, "allow = [\"127.0.0.2/32\"]\nmax-connections = 1\n");
    assert_eq!(held.rest(), "");
    assert_eq!(full.served.rest(), "");
    assert_eq!((full.refused("not_allowed"), full.connections()), (1, 1), "it was never served");
    assert_eq!(Peer::connect_from(STRANGER, full.daemon.address()).ask("2\n"), "PAR\n");
}

#[test]
fn a_reload_that_raises_the_limit_serves_held_connections() {
    let (full, file) = Full::start_from_file();
    let mut held = [full.hold(1), full.hold(2)];
    full.reload(&file, "allow = [\"127.0.0.1/32\"]\nmax-connections = 2\n");
    assert_eq!(held[0].ask("2\n"), "PAR\n");
    assert_eq!(full.connections(), 2);
    drop(full.served);
    assert_eq!(held[1].ask("2\n"), "PAR\n");
}

#[test]
fn a_reload_to_refuse_tells_held_connections_that_the_server_is_full() {
    let (mut full, file) = Full::start_from_file();
    let mut held = full.hold(1);
    full.reload(&file, "allow = [\"127.0.0.1/32\"]\nmax-connections = 1\noverload = \"refuse\"\n");
    assert!(held.rest().starts_with("ERRO ocupado: "));
    assert_eq!((full.refused("overload"), full.connections()), (1, 1));
    assert_eq!(full.served.ask("8\n"), "PAR\n");
}

/// Stops a full daemon that holds a connection, which must be answered.
fn assert_held_is_served_at_the_stop(mut full: Full) {
    let mut held = full.hold(1);
    held.send("2\n12345678901\n");
    full.daemon.signal(Signal::TERM);
    assert_eq!(held.rest(), "PAR\n12345678901\n");
    assert_eq!(full.served.rest(), "");
    assert_eq!(full.daemon.wait().code(), Some(0));
    let stopped = full.daemon.wait_for("stopped");
    assert_eq!((&stopped["forced"], &stopped["connections"]), (&0.into(), &2.into()), "{stopped}");
}

#[test]
fn a_stop_serves_held_connections() {
    assert_held_is_served_at_the_stop(Full::start());
}

#[test]
fn a_stop_serves_held_connections_even_if_the_queue_is_left_to_the_successor() {
    let arguments = ["--allow", "127.0.0.1/32", "--max-connections", "1"];
    assert_held_is_served_at_the_stop(Full::of(start_inheriting(short_queue(), &arguments)));
}

#[test]
fn a_full_server_that_holds_connections_does_not_spin() {
    let mut full = Full::start();
    let waiting: Vec<Peer> = (1..=2).map(|count| full.hold(count)).collect();
    full.daemon.wait_for("connection limit reached");
    let ticks = || {
        let status = fs::read_to_string(format!("/proc/{}/stat", full.daemon.id())).expect("it runs");
        // User and system time are the 12th and 13th fields after the name in parentheses, in hundredths of a second.
        let (_, fields) = status.rsplit_once(") ").expect("a name in parentheses");
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>()
    };
    let before = ticks();
    let_pass(Instant::now(), Duration::from_secs(2));
    let used = ticks() - before;
    assert!(used < 20, "it used {used} hundredths of a second in two seconds");
    assert_eq!(full.served.ask("8\n"), "PAR\n");
    drop(waiting);
}
