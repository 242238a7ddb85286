//! Slow and hostile peers hold a permit no longer than the timeout for their case.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use common::start;
use testkit::{Daemon, Peer, scrape, wait_until};

/// Asserts that the only permit is free again, and for what reason.
///
/// Every daemon here serves one connection at a time, with timeouts far beyond the test's deadline except the one
/// under test.
fn assert_permit_is_free(daemon: &Daemon, reason: &str) {
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", reason)]), 1, "{reason}");
    assert_eq!(daemon.wait_for("connection closed")["reason"], reason);
}

fn start_with_patience(timeout: &str, value: &str) -> Daemon {
    let mut arguments = vec!["--max-connections", "1", timeout, value];
    for patient in ["--idle-timeout", "--line-timeout", "--write-timeout"] {
        if patient != timeout {
            arguments.extend([patient, "60s"]);
        }
    }
    start(&arguments)
}

/// Sends `bytes` one at a time, with a pause after each, until the daemon ends the connection.
fn drip(peer: &mut Peer, bytes: &[u8]) {
    peer.stream().set_read_timeout(Some(Duration::from_millis(100))).expect("above zero");
    for byte in bytes {
        peer.send([*byte]);
        match peer.stream().read(&mut [0; 128]) {
            Ok(0) => return,
            Ok(_) => panic!("a reply to half a line"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "no reset"),
        }
    }
    panic!("the daemon took all {} bytes", bytes.len());
}

#[test]
fn a_first_line_that_drips_is_a_slow_line() {
    let daemon = start(&["--max-connections", "1", "--line-timeout", "2s", "--unterminated-wait", "1900ms"]);
    drip(&mut Peer::connect(daemon.address()), &[b'1'; 64]);
    assert_permit_is_free(&daemon, "slow_line");
}

#[test]
fn a_later_line_that_drips_is_a_slow_line() {
    let daemon = start_with_patience("--line-timeout", "1s");
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    drip(&mut peer, &[b'1'; 64]);
    assert_permit_is_free(&daemon, "slow_line");
}

#[test]
fn a_later_line_that_stops_is_a_slow_line() {
    let daemon = start_with_patience("--line-timeout", "500ms");
    let mut peer = Peer::connect(daemon.address());
    peer.send("7\n1");
    assert_eq!(peer.rest(), "ÍMPAR\n");
    assert_permit_is_free(&daemon, "slow_line");
}

#[test]
fn a_peer_that_sends_nothing_is_idle() {
    let daemon = start_with_patience("--idle-timeout", "500ms");
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.rest(), "");
    assert_permit_is_free(&daemon, "idle");
}

#[test]
fn a_peer_that_asks_no_more_is_idle() {
    let daemon = start_with_patience("--idle-timeout", "500ms");
    let mut peer = Peer::connect(daemon.address());
    peer.send("7\n8\n");
    assert_eq!(peer.rest(), "ÍMPAR\nPAR\n");
    assert_permit_is_free(&daemon, "idle");
}

#[test]
fn a_peer_that_does_not_read_is_a_slow_reader() {
    let daemon = start_with_patience("--write-timeout", "500ms");
    let peer = Peer::connect(daemon.address());
    let mut writer = peer.stream().try_clone().expect("a socket can be cloned");
    let flood = thread::spawn(move || while writer.write_all(&b"12345678901\n".repeat(1000)).is_ok() {});
    assert_permit_is_free(&daemon, "slow_reader");
    flood.join().expect("the daemon takes no more");
    drop(peer);
}

#[test]
fn a_peer_that_never_closes_keeps_no_socket() {
    let daemon = start(&[]);
    let address = daemon.address();
    let files = daemon.open_files();
    let mut peer = Peer::connect(address);
    peer.send("2");
    assert_eq!(peer.rest(), "PAR");
    wait_until("the daemon's side is closed as well", || daemon.open_files() <= files);
    drop(peer);
}

#[test]
fn megabytes_without_a_line_end_are_oversize() {
    let daemon = start_with_patience("--idle-timeout", "60s");
    let mut peer = Peer::connect(daemon.address());
    let mut writer = peer.stream().try_clone().expect("a socket can be cloned");
    let flood = thread::spawn(move || {
        let block = [b'9'; 10_000];
        // The daemon may stop taking them at any time.
        for _ in 0..1000 {
            if writer.write_all(&block).is_err() {
                break;
            }
        }
    });
    let reply = peer.rest();
    assert!(reply.starts_with("ERRO longo: "), "{reply:?}");
    assert_permit_is_free(&daemon, "oversize");
    flood.join().expect("the flood ends");
}

#[test]
fn endless_bytes_after_the_answer_are_not_read_forever() {
    let daemon = start(&["--max-connections", "1", "--unterminated-wait", "50ms"]);
    let mut peer = Peer::connect(daemon.address());
    peer.send("2");
    assert_eq!(peer.rest(), "PAR");
    wait_until("the daemon closes its side for good", || {
        let mut stream = peer.stream();
        stream.write(&[b'9'; 100]).is_err()
    });
    assert_permit_is_free(&daemon, "unterminated");
}

#[test]
fn a_reset_frees_the_permit() {
    let daemon = start_with_patience("--idle-timeout", "60s");
    let peer = Peer::connect(daemon.address());
    daemon.wait_for("connection established");
    // No lingering: closing sends a reset.
    socket2::SockRef::from(peer.stream()).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    drop(peer);
    assert_permit_is_free(&daemon, "io");
}
