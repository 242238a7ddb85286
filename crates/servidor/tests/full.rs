//! A server that stays full logs it once, and logs the end of it once.

mod common;

use std::time::{Duration, Instant};

use common::start;
use serde_json::Value;
use testkit::{Peer, Signal, let_pass, wait_until};

const NOTHING: [Value; 0] = [];

#[test]
fn a_limit_that_stays_reached_is_logged_once_and_so_is_its_end() {
    let mut daemon = start(&["--max-connections", "2"]);
    let mut served: Vec<Peer> = (0..2).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut served {
        assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    }
    let mut waiting = Peer::connect(daemon.address());
    waiting.send("2\n");
    let reached = daemon.wait_for("connection limit reached");
    assert_eq!((&reached["level"], &reached["limit"]), (&"WARN".into(), &2.into()), "{reached}");
    // Time enough for another warning.
    let_pass(Instant::now(), Duration::from_secs(2));

    served.pop();
    assert_eq!(waiting.line(), "PAR\n");
    assert_eq!(daemon.lines_with("connection limit cleared"), NOTHING, "the waiting peer has the permit now");
    served.pop();
    let cleared = daemon.wait_for("connection limit cleared");
    assert_eq!((&cleared["level"], &cleared["limit"]), (&"INFO".into(), &2.into()), "{cleared}");
    let duration = cleared["duration_ms"].as_u64();
    assert!(duration.is_some_and(|duration| duration >= 2000), "{cleared}");

    daemon.signal(Signal::TERM);
    assert_eq!(waiting.rest(), "");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.lines_with("connection limit reached"), [reached]);
    assert_eq!(daemon.lines_with("connection limit cleared"), [cleared]);
}

#[test]
fn a_limit_that_is_reached_again_is_another_warning() {
    let daemon = start(&["--max-connections", "1"]);
    for times in 1..=2 {
        let mut served = Peer::connect(daemon.address());
        assert_eq!(served.ask("7\n"), "ÍMPAR\n");
        let waiting = Peer::connect(daemon.address());
        wait_until("the warning", || daemon.lines_with("connection limit reached").len() == times);
        drop((waiting, served));
        wait_until("the end", || daemon.lines_with("connection limit cleared").len() == times);
    }
}
