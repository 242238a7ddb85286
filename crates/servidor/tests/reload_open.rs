//! A reload applies to open connections: which may stay, and for how long.

mod common;

use std::fs;
use std::net::Ipv4Addr;

use common::start;
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Daemon, Peer, Signal, Stall, scrape_until};

const OTHER_NETWORK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A daemon with its settings in a file.
fn start_with(settings: &str) -> (Daemon, NamedTempFile) {
    let file = NamedTempFile::new().expect("a temporary file");
    fs::write(&file, settings).expect("the file can be written");
    let daemon = start(&["--config", file.path().to_str().expect("a path in UTF-8")]);
    // By now it has read the file, and handles signals.
    daemon.wait_for("listening");
    (daemon, file)
}

/// Has the daemon read other settings, some time after this returns.
fn reload(daemon: &Daemon, file: &NamedTempFile, settings: &str) {
    fs::write(file, settings).expect("the file can be written");
    daemon.signal(Signal::HUP);
}

/// The line about the end of a peer's connection.
fn end_of(daemon: &Daemon, peer: &Peer) -> Value {
    let name = peer.name();
    daemon.wait_for_line("the end of the connection", |line| {
        line["message"] == "connection closed" && line["peer"] == name.as_str()
    })
}

#[test]
fn a_reload_closes_connections_from_networks_that_are_no_longer_allowed() {
    let (daemon, file) = start_with("");
    let mut dismissed = Peer::connect(daemon.address());
    assert_eq!(dismissed.ask("2\n"), "PAR\n");
    let mut kept = Peer::connect_from(OTHER_NETWORK, daemon.address());
    assert_eq!(kept.ask("2\n"), "PAR\n");

    reload(&daemon, &file, "allow = [\"127.0.0.2/32\"]\n");
    daemon.wait_for("reloaded");
    assert_eq!(dismissed.rest(), "");
    assert_eq!(end_of(&daemon, &dismissed)["reason"], "not_allowed");
    let not_allowed = [("reason", "not_allowed")];
    let metrics = scrape_until(daemon.metrics_address(), "one is closed", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 1
    });
    assert_eq!(metrics.count("servidor_connections_closed_total", &not_allowed), 1);
    assert_eq!(kept.ask("3\n"), "ÍMPAR\n", "the other one stays");
}

#[test]
fn requests_that_arrived_before_such_a_reload_are_answered() {
    let (daemon, file) = start_with("");
    let mut dismissed = Peer::connect(daemon.address());
    assert_eq!(dismissed.ask("2\n"), "PAR\n");
    let stall = Stall::stop(&daemon);
    dismissed.send("7\n12345678901\n");
    reload(&daemon, &file, "allow = [\"127.0.0.2/32\"]\n");
    drop(stall);
    assert_eq!(dismissed.rest(), "ÍMPAR\n12345678901\n");
    let end = end_of(&daemon, &dismissed);
    assert_eq!((&end["reason"], &end["requests"]), (&"not_allowed".into(), &3.into()), "{end}");
}

#[test]
fn a_reload_changes_the_idle_timeout_of_open_connections() {
    let (daemon, file) = start_with("idle-timeout = \"60s\"\n");
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    reload(&daemon, &file, "idle-timeout = \"300ms\"\n");
    assert_eq!(peer.rest(), "");
    assert_eq!(end_of(&daemon, &peer)["reason"], "idle");
}

#[test]
fn a_reload_changes_the_other_timeouts_of_open_connections() {
    let before = "line-timeout = \"60s\"\nunterminated-wait = \"60s\"\nwrite-timeout = \"60s\"\n";
    let (daemon, file) = start_with(before);
    let mut in_a_line = Peer::connect(daemon.address());
    assert_eq!(in_a_line.ask("7\n1"), "ÍMPAR\n");
    let mut bare = Peer::connect(daemon.address());
    bare.send("2");
    bare.wait_until_read();
    let not_reading = Peer::clogged(daemon.address());
    let after = "line-timeout = \"300ms\"\nunterminated-wait = \"300ms\"\nwrite-timeout = \"300ms\"\n";
    reload(&daemon, &file, after);
    assert_eq!(bare.rest(), "PAR");
    assert_eq!(end_of(&daemon, &in_a_line)["reason"], "slow_line");
    assert_eq!(end_of(&daemon, &not_reading)["reason"], "slow_reader");
}
