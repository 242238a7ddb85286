//! 10,000 connects at once against five permits: the kernel queues some, and drops the SYN of the others until they try
//! again. In the end each is served, or refused by the kernel, and the daemon has counted those that it served.

mod common;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

use common::start;
use reactor::{Interest, Poller};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use testkit::{DEADLINE, Peer, Stall, allow_open_files, scrape_until};

const PEERS: usize = 10_000;

/// What each peer gets.
const REPLY: &str = "ÍMPAR\n";

/// A peer of the burst: it asks once it is connected, reads its reply, and leaves.
///
/// It does not send its FIN before. A kernel that is short of memory for handshakes keeps none (SYN cookies), and takes the
/// first packet that finds room in the queue for the first one of the connection: if that is the FIN, the request is lost.
struct Hasty {
    stream: TcpStream,
    has_asked: bool,
    received: Vec<u8>,
}

impl Hasty {
    fn connect(to: SocketAddrV4) -> Self {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None);
        let socket = socket.expect("a file for each");
        let outcome = connect(&socket, &to);
        assert!(matches!(outcome, Ok(()) | Err(Errno::INPROGRESS)), "{outcome:?}");
        Self { stream: socket.into(), has_asked: false, received: Vec::new() }
    }

    /// Does what can be done without waiting. Returns how it ended, if it has.
    fn go_on(&mut self) -> Option<String> {
        if !self.has_asked {
            match self.stream.write(b"7\n") {
                Ok(_) => self.has_asked = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => return Some(error.kind().to_string()),
            }
        }
        match self.stream.read_to_end(&mut self.received) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(error.kind().to_string()),
            Err(_) if self.received != REPLY.as_bytes() => None,
            _ => Some(String::from_utf8_lossy(&self.received).into_owned()),
        }
    }
}

/// Waits for the end of all peers, and returns how many ended how.
fn ends_of(mut peers: Vec<Option<Hasty>>) -> BTreeMap<String, usize> {
    let poller = Poller::new().expect("a file");
    for (index, peer) in peers.iter().enumerate() {
        let stream = &peer.as_ref().expect("it has not ended").stream;
        poller.watch(stream, index as u64, Interest::Changes).expect("it is not watched yet");
    }
    let mut ends = BTreeMap::new();
    let mut ready = Vec::new();
    while ends.values().sum::<usize>() < PEERS {
        poller.wait(&mut ready, Some(3 * DEADLINE)).expect("epoll works");
        assert!(!ready.is_empty(), "nothing happens any more: {ends:?}");
        for event in &ready {
            let peer = &mut peers[usize::try_from(event.token).expect("an index")];
            if let Some(end) = peer.as_mut().and_then(Hasty::go_on) {
                *ends.entry(end).or_default() += 1;
                *peer = None;
            }
        }
    }
    ends
}

#[test]
fn a_burst_of_10_000_connects_against_5_permits_is_served_or_reset_by_the_kernel() {
    allow_open_files();
    let daemon = start(&["--max-connections", "5", "--log-events-per-second", "0"]);
    let SocketAddr::V4(address) = daemon.address() else { panic!("an IPv4 address") };
    // All of them are there before the daemon sees the first.
    let stall = Stall::stop(&daemon);
    let peers: Vec<_> = (0..PEERS).map(|_| Some(Hasty::connect(address))).collect();
    drop(stall);
    let ends = ends_of(peers);
    // Where handshakes take too long, the kernel resets some, of which the daemon sees nothing.
    let served = ends.get(REPLY).copied().unwrap_or(0) as u64;
    let reset = ends.get(&ErrorKind::ConnectionReset.to_string()).copied().unwrap_or(0) as u64;
    assert_eq!(served + reset, PEERS as u64, "how many read what: {ends:?}");
    assert!(served > reset, "{ends:?}");

    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    let metrics = scrape_until(daemon.metrics_address(), "all have ended", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 0
    });
    let all = served + 1;
    assert_eq!(metrics.count("servidor_connections_total", &[]), all);
    assert_eq!(metrics.sum("servidor_connections_closed_total", &[]), all);
    assert_eq!(metrics.count("servidor_numbers_total", &[("class", "odd")]), served);
    assert_eq!(metrics.sum("servidor_connections_refused_total", &[]), 0);
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 0);
}
