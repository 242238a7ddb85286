//! The log at level `debug`: each step of a connection, and what a rejected request was.

mod common;

use common::start;
use serde_json::Value;
use testkit::{Daemon, Peer, wait_until};

const STEPS: [&str; 4] = ["requests read", "replies sent", "replies stalled", "deadline passed"];

fn bytes_of(daemon: &Daemon, message: &str) -> Vec<u64> {
    let lines = daemon.lines_with(message);
    assert!(lines.iter().all(|line| line["level"] == "DEBUG" && line["connection"] == 1), "{lines:?}");
    lines.iter().filter_map(|line| line["bytes"].as_u64()).collect()
}

#[test]
fn each_step_of_a_connection_is_logged_at_level_debug() {
    let daemon = start(&["--log-level", "debug"]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n3\n"), "PAR\n");
    assert_eq!(peer.line(), "ÍMPAR\n");
    peer.finish();
    assert_eq!(daemon.wait_for("connection closed")["reason"], "client");
    assert_eq!(bytes_of(&daemon, "requests read"), [4]);
    assert_eq!(bytes_of(&daemon, "replies sent"), [11]);
}

#[test]
fn deadlines_and_stalls_are_logged_at_level_debug() {
    let daemon = start(&["--log-level", "debug", "--write-timeout", "2s"]);
    let mut peer = Peer::connect(daemon.address());
    peer.send("7");
    assert_eq!(peer.rest(), "ÍMPAR");
    assert_eq!(daemon.wait_for("deadline passed")["reason"], "unterminated");

    let _clogged = Peer::clogged(daemon.address());
    assert!(daemon.wait_for("replies stalled")["bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    daemon.wait_for_line("its deadline", |line| {
        line["message"] == "deadline passed" && line["reason"] == "slow_reader"
    });
}

#[test]
fn what_was_rejected_is_logged_escaped_and_bounded_at_level_debug() {
    let daemon = start(&["--log-level", "debug"]);
    let mut peer = Peer::connect(daemon.address());
    assert!(peer.ask(b"\xff\x1b[31m\"red\"\r\n").starts_with("ERRO invalido"));
    peer.send([b'9'; 1000]);
    assert!(peer.line().starts_with("ERRO longo"));
    let mut other = Peer::connect(daemon.address());
    other.send("seven");
    assert!(other.rest().starts_with("ERRO invalido"));
    wait_until("all three are logged", || daemon.lines_with("request rejected").len() == 3);
    let rejected = daemon.lines_with("request rejected");
    let requests: Vec<&Value> = rejected.iter().map(|line| &line["request"]).collect();
    assert_eq!(requests, [r#"\xff\x1b[31m\"red\"\r"#, &"9".repeat(64), "seven"]);
}

#[test]
fn neither_steps_nor_requests_are_logged_at_the_usual_level() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    assert!(peer.ask("seven\n").starts_with("ERRO "));
    peer.finish();
    daemon.wait_for("connection closed");
    assert_eq!(daemon.wait_for("request rejected").get("request"), None);
    for step in STEPS {
        assert_eq!(daemon.lines_with(step), [] as [Value; 0]);
    }
}
