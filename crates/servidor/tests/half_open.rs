//! Peers that vanish without a word: packets are dropped, so no FIN and no RST comes from them, and none reaches them.

mod common;

use std::net::Ipv4Addr;

use common::assert_both_ended;
use testkit::{Daemon, Namespace, Peer};

const VANISHING: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const HONEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// Longer than a test waits.
const NEVER: &str = "60s";

/// A network with a daemon that serves one connection at a time, whose time-outs are far off except this one.
fn network(timeout: &str) -> Option<(Namespace, Daemon)> {
    let network = Namespace::enter()?;
    let mut arguments =
        vec!["--listen", "192.0.2.1:0", "--allow", "192.0.2.0/24", "--max-connections", "1", timeout, "1s"];
    for patient in ["--idle-timeout", "--line-timeout", "--write-timeout"] {
        if patient != timeout {
            arguments.extend([patient, NEVER]);
        }
    }
    let daemon = network.start(env!("CARGO_BIN_EXE_servidor"), &arguments, &[]);
    Some((network, daemon))
}

/// Asserts that the permit of the peer that vanished is free for another, that its file is closed, and that all is counted.
fn assert_is_over(daemon: &Daemon, reason: &str, files: u64) {
    assert_eq!(daemon.wait_for("connection closed")["reason"], reason);
    let mut honest = Peer::connect_from(HONEST, daemon.address());
    assert_eq!(honest.ask("2\n"), "PAR\n");
    drop(honest);
    assert_both_ended(daemon, reason, files);
}

#[test]
fn a_peer_that_vanishes_while_idle_frees_its_permit_after_the_idle_timeout() {
    let Some((network, daemon)) = network("--idle-timeout") else { return };
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_from(VANISHING, daemon.address());
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    network.cut_off(VANISHING);
    assert_is_over(&daemon, "idle", files);
    network.heal();
    assert_eq!(peer.rest(), "", "the kernel still has the FIN for it");
}

#[test]
fn a_peer_that_vanishes_within_a_line_frees_its_permit_after_the_line_timeout() {
    let Some((network, daemon)) = network("--line-timeout") else { return };
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_from(VANISHING, daemon.address());
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    peer.send("1");
    peer.wait_until_read();
    network.cut_off(VANISHING);
    assert_is_over(&daemon, "slow_line", files);
    network.heal();
    assert_eq!(peer.rest(), "", "the kernel still has the FIN for it");
}

#[test]
fn a_peer_that_vanishes_while_its_replies_are_unread_is_reset_after_the_write_timeout() {
    let Some((network, daemon)) = network("--write-timeout") else { return };
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_from(VANISHING, daemon.address()).clog();
    network.cut_off(VANISHING);
    assert_is_over(&daemon, "slow_reader", files);
    peer.wait_until_forgotten();
    network.heal();
    peer.expect_reset();
}

#[test]
fn a_peer_that_vanishes_before_its_replies_reach_it_is_reset_after_the_idle_timeout() {
    let Some((network, daemon)) = network("--idle-timeout") else { return };
    let files = daemon.open_files_at_rest();
    let mut peer = Peer::connect_from(VANISHING, daemon.address());
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    // It is heard, but hears nothing.
    network.deafen(VANISHING);
    peer.send("123456789012345678901234567890\n".repeat(200));
    assert_is_over(&daemon, "idle", files);
    peer.wait_until_forgotten();
    network.heal();
    peer.expect_reset();
}
