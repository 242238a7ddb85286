//! The log: one JSON object per line with the documented fields, within its budget.

mod common;

use std::collections::BTreeMap;

use common::start;
use serde_json::Value;
use testkit::{Peer, Signal, scrape, wait_until};

/// The field names of a line except those that every line has. The latter are checked here.
fn own_fields(line: &Value) -> Vec<&str> {
    let timestamp = line["timestamp"].as_str().unwrap_or_else(|| panic!("no timestamp in {line}"));
    let shape: String = timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{line}");
    assert!(["ERROR", "WARN", "INFO"].contains(&line["level"].as_str().expect("a level")), "{line}");
    assert!(line["target"].is_string() && line["message"].is_string(), "{line}");
    let common = ["timestamp", "level", "target", "message"];
    let fields = line.as_object().expect("an object").keys();
    fields.map(String::as_str).filter(|field| !common.contains(field)).collect()
}

#[test]
fn each_event_has_its_fields() {
    let mut daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("-12345678901234567890\n"), "-12345678901234567890\n");
    assert_eq!(peer.ask("007\n"), "ÍMPAR\n");
    assert!(peer.ask("seven\n").starts_with("ERRO "));
    let name = peer.name();
    drop(peer);
    let closed = daemon.wait_for("connection closed");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());

    let listening = daemon.wait_for("listening");
    assert_eq!(own_fields(&listening), ["address", "inherited", "max_connections"]);
    assert_eq!((&listening["max_connections"], &listening["inherited"]), (&5.into(), &false.into()));

    let established = daemon.wait_for("connection established");
    assert_eq!(own_fields(&established), ["connection", "peer"]);
    assert_eq!((&established["level"], &established["peer"]), (&"INFO".into(), &name.as_str().into()));
    let connection = &established["connection"];
    assert!(connection.is_u64(), "{established}");

    let classified = daemon.lines_with("number classified");
    let expected = [("-12345678901234567890", 20, "large"), ("7", 1, "odd")];
    assert_eq!(classified.len(), expected.len());
    for (line, (number, digits, class)) in classified.iter().zip(expected) {
        assert_eq!(own_fields(line), ["class", "connection", "digits", "number", "peer"]);
        assert_eq!((&line["number"], &line["digits"]), (&number.into(), &digits.into()), "{line}");
        assert_eq!((&line["class"], &line["level"]), (&class.into(), &"INFO".into()), "{line}");
        assert_eq!((&line["connection"], &line["peer"]), (connection, &name.as_str().into()), "{line}");
    }

    let rejected = daemon.wait_for("request rejected");
    assert_eq!(own_fields(&rejected), ["connection", "peer", "reason"]);
    assert_eq!((&rejected["reason"], &rejected["level"]), (&"invalid".into(), &"WARN".into()));

    assert_eq!(own_fields(&closed), ["connection", "duration_ms", "peer", "reason", "requests"]);
    assert_eq!((&closed["reason"], &closed["requests"]), (&"client".into(), &3.into()), "{closed}");
    assert!(closed["duration_ms"].is_number() && closed["connection"] == *connection, "{closed}");

    assert_eq!(own_fields(&daemon.wait_for("draining")), ["connections"]);
    assert!(own_fields(&daemon.wait_for("stopped")).contains(&"forced"));
    for line in daemon.lines() {
        own_fields(&line);
        let message = line["message"].as_str().expect("text");
        assert!(!message.contains(|c: char| c.is_ascii_digit()), "a value in a message: {line}");
    }
}

#[test]
fn connections_are_numbered_in_order() {
    let daemon = start(&[]);
    for _ in 0..3 {
        assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    }
    wait_until("all are told", || daemon.lines_with("connection established").len() == 3);
    let numbers = daemon.lines_with("connection established");
    let numbers: Vec<_> = numbers.iter().map(|line| line["connection"].as_u64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
fn a_hostile_request_cannot_forge_a_line() {
    let daemon = start(&["--log-level", "trace"]);
    let mut peer = Peer::connect(daemon.address());
    let reply = peer.ask("\"}\r{\"message\":\"forged\"}\x1b[31m\n");
    assert!(reply.starts_with("ERRO invalido: "), "{reply:?}");
    daemon.wait_for("request rejected");
    assert_eq!(daemon.lines_with("forged"), [] as [Value; 0]);
}

#[test]
fn a_flood_of_events_stays_within_its_budget_and_the_rest_is_counted() {
    const BUDGET: usize = 5;
    const REQUESTS: usize = 20_000;
    let mut daemon = start(&["--log-events-per-second", "5"]);
    let metrics = daemon.metrics_address();
    let mut peer = Peer::connect(daemon.address());
    for _ in 0..REQUESTS / 100 {
        peer.send("2\n".repeat(100));
        for _ in 0..100 {
            assert_eq!(peer.line(), "PAR\n");
        }
    }
    assert!(peer.ask("x\n").starts_with("ERRO "));
    daemon.wait_for_line("another kind of event has a budget of its own", |line| {
        line["message"] == "request rejected"
    });
    // Counted once a second.
    let suppressed = || scrape(metrics).count("servidor_log_events_suppressed_total", &[]);
    wait_until("every event is written or counted", || {
        daemon.lines_with("number classified").len() as u64 + suppressed() == REQUESTS as u64
    });
    let suppressed = suppressed();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());

    let written = daemon.lines_with("number classified");
    assert_eq!(written.len() as u64 + suppressed, REQUESTS as u64);
    let mut by_second = BTreeMap::new();
    for line in &written {
        let second =
            line["timestamp"].as_str().expect("a timestamp").split('.').next().expect("a first part");
        *by_second.entry(second.to_owned()).or_insert(0) += 1;
    }
    // The daemon's seconds need not begin with the clock's: one of the clock's may touch two of them.
    assert!(by_second.values().all(|count| *count <= 2 * BUDGET), "{by_second:?}");

    let sums = daemon.lines_with("events suppressed");
    let of_numbers = sums.iter().filter(|line| line["event"] == "number classified");
    let told: u64 = of_numbers.map(|line| line["count"].as_u64().expect("a count")).sum();
    assert_eq!(told, suppressed, "{sums:?}");
}

#[test]
fn each_second_has_its_own_budget() {
    let daemon = start(&["--log-events-per-second", "1"]);
    let mut peer = Peer::connect(daemon.address());
    wait_until("three seconds have been", || {
        assert_eq!(peer.ask("2\n"), "PAR\n");
        daemon.lines_with("number classified").len() >= 3
    });
}

#[test]
fn lines_suppressed_in_the_last_second_are_summed_up_at_the_stop() {
    let mut daemon = start(&["--log-events-per-second", "0"]);
    let mut peer = Peer::connect(daemon.address());
    for _ in 0..10 {
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    for (event, expected) in [("number classified", 10), ("connection closed", 1)] {
        let sums = daemon.lines_with("events suppressed");
        let of_event = sums.iter().filter(|line| line["event"] == event);
        let told: u64 = of_event.map(|line| line["count"].as_u64().expect("a count")).sum();
        assert_eq!(told, expected, "{event} in {sums:?}");
    }
}
