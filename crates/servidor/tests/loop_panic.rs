//! A panic ends one connection, or, in an event loop itself, the daemon, after the other event loops have drained.
#![cfg(feature = "simulation")]

use std::io::Read as _;
use std::process::Command;

use testkit::{Daemon, Peer, Signal};

/// A daemon with two event loops that panics at this fail point.
fn start_with_a_bug_at(fail_point: &str) -> Daemon {
    Daemon::spawn(
        Command::new(env!("CARGO_BIN_EXE_servidor"))
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--worker-threads", "2", "--line-timeout", "60s", "--drain-timeout", "15s"])
            .env_clear()
            .env("SERVIDOR_FAIL_POINT", fail_point),
    )
}

#[test]
fn a_panic_of_a_connection_ends_that_connection_and_no_other() {
    let mut daemon = start_with_a_bug_at("serve:3");
    // The third shares its event loop with one of the others.
    let mut others: Vec<Peer> = (0..2).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut others {
        assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    }
    let mut third = Peer::connect(daemon.address());
    third.send("7\n");
    let closed = daemon.wait_for("connection closed");
    assert_eq!((&closed["connection"], &closed["reason"]), (&3.into(), &"panic".into()), "{closed}");
    assert!(matches!(third.stream().read(&mut [0]), Ok(0) | Err(_)), "no reply came");
    for peer in &mut others {
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    let metrics = testkit::scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "panic")]), 1);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.lines_with("panic").len(), 1);
}

#[test]
fn a_panic_of_one_event_loop_at_the_stop_leaves_the_other_to_drain() {
    let mut daemon = start_with_a_bug_at("drain:1");
    // They are distributed evenly: one on each event loop.
    let mut peers: Vec<Peer> = (0..2).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut peers {
        // The last request has no end yet: it is answered at the stop.
        assert_eq!(peer.ask("7\n2"), "ÍMPAR\n");
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(1));

    let is_drained = |peer: &&Peer| {
        let mut rest = String::new();
        peer.stream().read_to_string(&mut rest).is_ok() && rest == "PAR\n"
    };
    assert_eq!(peers.iter().filter(is_drained).count(), 1, "the one on the other event loop");
    assert_eq!(daemon.lines_with("panic").len(), 1);
    let failed = daemon.wait_for("failed");
    assert_eq!(failed["level"], "ERROR", "{failed}");
}
