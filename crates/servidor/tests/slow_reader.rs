//! Peers that read slowly: those above the minimum rate are waited for, the others are reset.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::start;
use serde_json::Value;
use testkit::{DEADLINE, Daemon, Peer, Stall, let_pass, scrape};

const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How much is asked for: several times what the kernel holds for both sides.
const REQUESTS: usize = 400_000;
/// What fits between the peer's reads.
const ROOM: usize = 16 * 1024;
/// How often a slow peer reads.
const PACE: Duration = Duration::from_millis(100);

/// The nth request, whose answer is itself.
fn request(n: usize) -> String {
    format!("9{n:029}\n")
}

/// Sends all requests, as fast as the daemon takes them, until the connection takes no more.
fn ask_for_all(mut stream: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        for first in (0..REQUESTS).step_by(1000) {
            let batch: String = (first..first + 1000).map(request).collect();
            if stream.write_all(batch.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// The socket once more, for another thread. The daemon may stop reading from it for as long as it likes.
fn writer(peer: &Peer) -> TcpStream {
    let stream = peer.stream().try_clone().expect("a socket can be cloned");
    stream.set_write_timeout(None).expect("a TCP socket");
    stream
}

/// Reads the replies that are missing in `received`, and compares all of them.
fn assert_the_rest_is_right(daemon: &Daemon, peer: &Peer, mut received: Vec<u8>, expected: &str) {
    let mut rest = vec![0; expected.len() - received.len()];
    let all = peer.stream().read_exact(&mut rest);
    assert!(all.is_ok(), "{all:?}: {:?}", daemon.lines_with("connection closed"));
    received.extend_from_slice(&rest);
    assert!(received == expected.as_bytes(), "all replies are right, and in order");
}

#[test]
fn a_peer_that_reads_slowly_but_steadily_gets_all_its_replies() {
    // This takes a while, in which the peer would not read.
    let expected: String = (0..REQUESTS).map(request).collect();
    let daemon = start(&["--write-timeout", "2s"]);
    let peer = Peer::connect_with_room(ROOM, daemon.address());
    let asking = ask_for_all(writer(&peer));
    let mut received = Vec::with_capacity(expected.len());
    let began = Instant::now();
    while began.elapsed() < 4 * WRITE_TIMEOUT {
        let read = Instant::now();
        let mut some = [0; 10_000];
        peer.stream().read_exact(&mut some).expect("replies, not a FIN or a reset");
        received.extend_from_slice(&some);
        let_pass(read, PACE);
    }
    assert_eq!(daemon.lines_with("connection closed"), [] as [Value; 0], "it is not cut off while it reads");
    assert_the_rest_is_right(&daemon, &peer, received, &expected);
    asking.join().expect("all was taken");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "slow_reader")]), 0);
}

#[test]
fn a_peer_that_reads_a_few_bytes_at_a_time_is_a_slow_reader_in_the_end() {
    let daemon = start(&["--write-timeout", "1s"]);
    let peer = Peer::connect_with_room(ROOM, daemon.address());
    let asking = ask_for_all(writer(&peer));
    let begun = Instant::now();
    while daemon.lines_with("connection closed").is_empty() {
        assert!(begun.elapsed() < DEADLINE, "it is served forever");
        let read = Instant::now();
        // Once it is cut off, this may fail.
        let _ = peer.stream().read(&mut [0; 10]);
        let_pass(read, PACE);
    }
    assert_eq!(daemon.wait_for("connection closed")["reason"], "slow_reader");
    asking.join().expect("the daemon takes no more");
}

#[test]
fn a_peer_that_reads_during_a_stall_longer_than_the_timeout_gets_all_its_replies() {
    let expected: String = (0..REQUESTS).map(request).collect();
    let daemon = start(&["--write-timeout", "8s", "--log-level", "debug"]);
    let peer = Peer::connect_with_room(ROOM, daemon.address());
    let asking = ask_for_all(writer(&peer));
    daemon.wait_for("replies stalled");
    let stall = Stall::stop(&daemon);
    // All that the kernel holds, so that it has room again.
    let mut received = Vec::with_capacity(expected.len());
    peer.stream().set_read_timeout(Some(Duration::from_secs(1))).expect("above zero");
    let end = peer.stream().read_to_end(&mut received).expect_err("the daemon is stopped");
    assert_eq!(end.kind(), ErrorKind::WouldBlock, "no reset");
    stall.outlast(Duration::from_secs(8));
    drop(stall);
    peer.stream().set_read_timeout(Some(DEADLINE)).expect("above zero");
    assert_the_rest_is_right(&daemon, &peer, received, &expected);
    asking.join().expect("all was taken");
}

#[test]
fn a_peer_that_does_not_read_is_reset() {
    let daemon = start(&["--write-timeout", "3s"]);
    let mut peer = Peer::clogged(daemon.address());
    assert_eq!(daemon.wait_for("connection closed")["reason"], "slow_reader");
    peer.expect_reset();
}
