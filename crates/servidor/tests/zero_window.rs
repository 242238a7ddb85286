//! Peers that advertise a window of zero for longer than every time-out.

mod common;

use common::{assert_both_ended, start};
use testkit::{Daemon, Peer, Signal};

const ROOM: usize = 2 * 1024;
/// Its answer is itself.
const REQUEST: &str = "123456789012345678901234567890\n";

fn full() -> Daemon {
    start(&[
        "--max-connections",
        "1",
        "--idle-timeout",
        "1s",
        "--line-timeout",
        "1s",
        "--unterminated-wait",
        "500ms",
        "--write-timeout",
        "2s",
    ])
}

/// Asserts that the peer was reset for this reason, nothing is left of it, and another is served.
fn assert_is_reset(daemon: &Daemon, mut peer: Peer, reason: &str, files: u64) {
    assert_eq!(daemon.wait_for("connection closed")["reason"], reason);
    let mut honest = Peer::connect(daemon.address());
    assert_eq!(honest.ask("2\n"), "PAR\n");
    drop(honest);
    peer.wait_until_forgotten();
    assert_both_ended(daemon, reason, files);
    peer.expect_reset();
}

#[test]
fn a_window_that_stays_closed_while_replies_wait_in_the_daemon_ends_by_the_write_timeout() {
    let daemon = full();
    let files = daemon.open_files_at_rest();
    let peer = Peer::connect_with_room(ROOM, daemon.address()).clog();
    assert_is_reset(&daemon, peer, "slow_reader", files);
}

#[test]
fn a_window_that_stays_closed_while_replies_wait_in_the_kernel_ends_by_the_idle_timeout() {
    let daemon = full();
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_with_room(ROOM, daemon.address());
    // More than the peer has room for, and less than the daemon's side has.
    peer.send(REQUEST.repeat(250));
    peer.wait_until_full();
    assert_is_reset(&daemon, peer, "idle", files);
}

#[test]
fn a_window_that_stays_closed_within_a_line_ends_by_the_line_timeout() {
    let daemon = full();
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_with_room(ROOM, daemon.address());
    peer.send(REQUEST.repeat(250) + "1");
    peer.wait_until_full();
    assert_is_reset(&daemon, peer, "slow_line", files);
}

#[test]
fn a_window_that_stays_closed_delays_no_stop_beyond_its_time() {
    let mut daemon = start(&["--drain-timeout", "1s", "--write-timeout", "60s"]);
    let peer = Peer::connect_with_room(ROOM, daemon.address()).clog();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.wait_for("stopped")["forced"], 1);
    assert_eq!(daemon.wait_for("connection closed")["reason"], "forced");
    peer.wait_until_forgotten();
}
