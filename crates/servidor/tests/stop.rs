//! A stop: every request that had arrived gets a complete reply, then FIN, and no peer can delay the stop.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{start, start_inheriting};
use testkit::{Daemon, Peer, Signal, scrape, wait_until};

const REQUESTS: &str = "2\n7\n12345678901\n";
/// As [`PATIENT`] says it: far more than a stop needs, and less than a test waits for the end of a daemon.
const PATIENCE: Duration = Duration::from_secs(15);
const PATIENT: [&str; 2] = ["--drain-timeout", "15s"];
const REPLIES: &str = "PAR\nÍMPAR\n12345678901\n";

/// Asserts how every requested stop ends, and returns how many connections it had to cut off.
fn assert_stopped(daemon: &mut Daemon) -> u64 {
    assert_eq!(daemon.wait().code(), Some(0));
    let stopped = daemon.wait_for("stopped");
    stopped["forced"].as_u64().unwrap_or_else(|| panic!("no count of the forced in {stopped}"))
}

/// Stops a daemon whose drain may take so long that not even a busy machine blurs it, and asserts that it ends within.
fn assert_stops_in_time(daemon: &mut Daemon) -> u64 {
    let signalled = Instant::now();
    daemon.signal(Signal::TERM);
    let forced = assert_stopped(daemon);
    assert!(signalled.elapsed() < PATIENCE, "stopped after {:?}", signalled.elapsed());
    forced
}

/// Asserts that `received` is the replies to [`REQUESTS`], repeated, and ends with a complete reply.
fn assert_whole_replies(received: &[u8]) {
    assert_eq!(received.last(), Some(&b'\n'), "the last reply is whole");
    let wrong = received.iter().zip(REPLIES.bytes().cycle()).position(|(byte, right)| *byte != right);
    assert_eq!(wrong, None, "a wrong byte among {}", received.len());
}

/// Sends a hundred rounds of [`REQUESTS`] at a time, as soon as the last hundred are answered, until FIN comes.
fn ask_until_fin(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        let batch = REQUESTS.repeat(100);
        let mut expected = 0;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if received.len() == expected {
                // Once the daemon has closed, this may fail: what tells is the read.
                let _ = stream.write_all(batch.as_bytes());
                expected += REPLIES.len() * 100;
            }
            match stream.read(&mut buffer).expect("replies and then FIN, not a reset") {
                0 => return assert_whole_replies(&received),
                count => received.extend_from_slice(&buffer[..count]),
            }
        }
    })
}

/// Sends [`REQUESTS`] without end, whatever comes back, until the connection takes no more.
fn flood(mut stream: TcpStream) -> JoinHandle<()> {
    let batch = REQUESTS.repeat(1000);
    thread::spawn(move || while stream.write_all(batch.as_bytes()).is_ok() {})
}

fn connection(daemon: &Daemon) -> TcpStream {
    Peer::connect(daemon.address()).stream().try_clone().expect("a socket can be cloned")
}

fn wait_for_load(daemon: &Daemon) {
    let metrics = daemon.metrics_address();
    wait_until("the load is on", || {
        scrape(metrics).count("servidor_numbers_total", &[("class", "large")]) > 2000
    });
}

fn stop_under_load(signal: Signal) {
    let mut daemon = start(&[]);
    let clients: Vec<_> = (0..4).map(|_| ask_until_fin(connection(&daemon))).collect();
    wait_for_load(&daemon);
    daemon.signal(signal);
    assert_eq!(assert_stopped(&mut daemon), 0);
    for client in clients {
        client.join().expect("whole replies, then FIN");
    }
    for line in daemon.lines_with("connection closed") {
        assert_eq!(line["reason"], "stopping", "{line}");
    }
}

#[test]
fn sigterm_under_load_ends_with_complete_replies_and_fin() {
    stop_under_load(Signal::TERM);
}

#[test]
fn sigint_under_load_ends_with_complete_replies_and_fin() {
    stop_under_load(Signal::INT);
}

#[test]
fn an_endless_flood_does_not_delay_a_stop() {
    let mut daemon = start(&PATIENT);
    let stream = connection(&daemon);
    let flood = flood(stream.try_clone().expect("a socket can be cloned"));
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        Peer::from(stream).stream().read_to_end(&mut received).expect("replies and then FIN, not a reset");
        received
    });
    wait_for_load(&daemon);
    assert_stops_in_time(&mut daemon);
    assert_whole_replies(&reader.join().expect("FIN"));
    flood.join().expect("the daemon has gone");
}

#[test]
fn peers_that_never_close_do_not_delay_a_stop() {
    let mut daemon = start(&PATIENT);
    let mut peers: Vec<_> = (0..3).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut peers[..2] {
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    assert_eq!(assert_stops_in_time(&mut daemon), 0);
    for peer in &mut peers {
        assert_eq!(peer.rest(), "");
    }
}

#[test]
fn a_peer_that_does_not_read_is_cut_off_at_the_drain_timeout() {
    let mut daemon = start(&["--drain-timeout", "1s", "--write-timeout", "60s"]);
    let _peer = Peer::clogged(daemon.address());
    daemon.signal(Signal::TERM);
    assert_eq!(assert_stopped(&mut daemon), 1);
    assert_eq!(daemon.wait_for("connection closed")["reason"], "forced");
}

#[test]
fn connections_in_the_queue_are_served_before_the_end() {
    let mut daemon = start(&["--max-connections", "1"]);
    let mut first = Peer::connect(daemon.address());
    assert_eq!(first.ask("2\n"), "PAR\n");
    let mut queued: Vec<_> = (0..3).map(|_| Peer::connect(daemon.address())).collect();
    queued[0].send("7\n");
    queued[1].send(REQUESTS);
    queued[2].send("12345678901");
    daemon.signal(Signal::TERM);
    assert_eq!(first.rest(), "");
    assert_eq!(queued[0].rest(), "ÍMPAR\n");
    assert_eq!(queued[1].rest(), REPLIES);
    assert_eq!(queued[2].rest(), "12345678901");
    assert_eq!(assert_stopped(&mut daemon), 0);
}

#[test]
fn the_queue_of_an_inherited_socket_is_left_to_the_successor() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let handed_over = listener.try_clone().expect("a socket can be cloned");
    // Where there may be strangers, the first in the queue are held, and served at the stop: see strangers.rs.
    let everyone = ["--max-connections", "1", "--allow", "0.0.0.0/0,::/0"];
    let mut daemon = start_inheriting(handed_over.into(), &everyone);
    let mut first = Peer::connect(daemon.address());
    assert_eq!(first.ask("2\n"), "PAR\n");
    let mut queued = Peer::connect(daemon.address());
    queued.send("7\n");
    daemon.signal(Signal::TERM);
    assert_eq!(first.rest(), "");
    assert_eq!(assert_stopped(&mut daemon), 0);

    let mut successor = start_inheriting(listener.into(), &[]);
    assert_eq!(queued.line(), "ÍMPAR\n");
    successor.signal(Signal::TERM);
    assert_eq!(queued.rest(), "");
    assert_eq!(assert_stopped(&mut successor), 0);
}

#[test]
fn an_over_long_line_that_waits_in_the_queue_is_one_error() {
    let mut daemon = start(&["--max-connections", "1"]);
    let _first = Peer::connect(daemon.address());
    daemon.wait_for("connection established");
    let mut queued = Peer::connect(daemon.address());
    queued.send("9".repeat(40_000));
    daemon.signal(Signal::TERM);
    let reply = queued.rest();
    assert!(reply.starts_with("ERRO longo: ") && reply.lines().count() == 1, "{reply:?}");
    assert_eq!(assert_stopped(&mut daemon), 0);
    let name = queued.name();
    let closed = daemon.wait_for_line("its end", |line| {
        line["message"] == "connection closed" && line["peer"] == name.as_str()
    });
    assert_eq!((&closed["reason"], &closed["requests"]), (&"oversize".into(), &1.into()), "{closed}");
}

#[test]
fn bytes_that_were_pending_at_the_stop_are_answered() {
    let mut daemon = start(&["--unterminated-wait", "4s"]);
    let mut bare = Peer::connect(daemon.address());
    bare.send("2");
    let mut later = Peer::connect(daemon.address());
    assert_eq!(later.ask("2\n"), "PAR\n");
    later.send("3\n5");
    daemon.signal(Signal::TERM);
    assert_eq!(bare.rest(), "PAR");
    assert_eq!(later.rest(), "ÍMPAR\nÍMPAR\n");
    assert_eq!(assert_stopped(&mut daemon), 0);
}

#[test]
fn a_peer_that_has_not_asked_yet_may_still_do_so() {
    let mut daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    daemon.wait_for("connection established");
    daemon.signal(Signal::TERM);
    let draining = daemon.wait_for("draining");
    assert_eq!(draining["connections"], 1, "{draining}");
    assert_eq!(peer.ask("2\n"), "PAR\n");
    assert_eq!(peer.rest(), "");
    assert_eq!(assert_stopped(&mut daemon), 0);
}

#[test]
fn a_stop_without_connections_is_logged() {
    let mut daemon = start(&[]);
    let address = daemon.address();
    daemon.signal(Signal::TERM);
    assert_eq!(assert_stopped(&mut daemon), 0);
    assert_eq!(daemon.wait_for("draining")["connections"], 0);
    let refused = TcpStream::connect(address).expect_err("nobody listens any more");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    for (second, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut daemon = start(&["--drain-timeout", "60s", "--write-timeout", "60s"]);
        let _peer = Peer::clogged(daemon.address());
        daemon.signal(Signal::TERM);
        daemon.wait_for("draining");
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(status));
    }
}
