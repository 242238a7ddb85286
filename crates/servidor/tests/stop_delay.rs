//! A stop that is announced: the server is not ready any more, and goes on serving for a while.

mod common;

use std::time::{Duration, Instant};

use common::start;
use testkit::{Daemon, Peer, Signal, request, wait_until};

fn await_unready(daemon: &Daemon) {
    wait_until("it is no longer ready", || {
        request(daemon.metrics_address(), "GET", "/-/ready").status == 503
    });
}

#[test]
fn until_the_delay_has_passed_everyone_is_served() {
    let mut daemon = start(&["--stop-delay", "1h"]);
    let mut before = Peer::connect(daemon.address());
    daemon.signal(Signal::TERM);
    await_unready(&daemon);
    assert_eq!(daemon.wait_for("stop announced")["delay_ms"], 3_600_000);
    assert_eq!(before.ask("7\n"), "ÍMPAR\n");
    assert_eq!(Peer::connect(daemon.address()).ask("4\n"), "PAR\n");
    assert_eq!(request(daemon.metrics_address(), "GET", "/-/healthy").status, 200);
    assert!(daemon.lines_with("draining").is_empty(), "the drain begins after the delay");

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(143), "a second signal ends it at once");
}

#[test]
fn after_the_delay_connections_drain() {
    const DELAY: Duration = Duration::from_millis(300);
    let mut daemon = start(&["--stop-delay", "300ms"]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    let begun = Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(peer.rest(), "", "FIN after the last reply");
    assert!(begun.elapsed() >= DELAY);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.lines_with("stopped").len(), 1);
}

#[test]
fn a_stop_without_a_delay_is_not_announced() {
    let mut daemon = start(&[]);
    assert_eq!(Peer::connect(daemon.address()).ask("7\n"), "ÍMPAR\n");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(daemon.lines_with("stop announced").is_empty());
}
