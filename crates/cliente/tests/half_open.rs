//! A server that vanishes without a word: packets are dropped, so that no FIN, no RST and no error comes.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use support::{CLIENTE, UNDISTURBED, honest_at, serve_at};
use testkit::{Daemon, Namespace, scrape, wait_until};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TIMEOUT: Duration = Duration::from_secs(1);

fn start(network: &Namespace, target: &str, connection: &str) -> Daemon {
    let arguments = ["--target", target, "--interval", "300ms", "--connection", connection];
    let timeouts = ["--connect-timeout", "1s", "--reply-timeout", "1s"];
    network.start(CLIENTE, &[&arguments[..], &timeouts].concat(), &[UNDISTURBED])
}

/// The next round that fails does so for this reason, and not before its deadline.
fn assert_fails(daemon: &Daemon, seen: usize, reason: &str) -> Value {
    let failed = daemon.wait_for_another("round failed", seen);
    assert_eq!(failed["reason"], reason, "{failed}");
    let elapsed = Duration::from_micros(failed["elapsed_us"].as_u64().expect("a number"));
    assert!(elapsed >= TIMEOUT, "{failed}");
    failed
}

/// When packets pass again, rounds go right, and all of them are counted.
fn assert_recovers(network: &Namespace, daemon: &Daemon) {
    network.heal();
    let failed = daemon.lines_with("round failed").len();
    let seen = daemon.lines_with("round completed").len();
    daemon.wait_for_another("round completed", seen + 2);
    // At most one was under way.
    assert!(daemon.lines_with("round failed").len() <= failed + 1, "{:?}", daemon.lines_with("round failed"));
    wait_until("no round is under way", || {
        let metrics = scrape(daemon.metrics_address());
        let ended =
            metrics.sum("cliente_numbers_total", &[]) + metrics.sum("cliente_round_failures_total", &[]);
        ended == metrics.sum("cliente_rounds_total", &[])
    });
}

#[test]
fn a_server_that_vanishes_between_rounds_fails_them_by_the_connect_timeout_until_it_is_back() {
    let Some(network) = Namespace::enter() else { return };
    let server = honest_at("192.0.2.2:0").to_string();
    let daemon = start(&network, &server, "fresh");
    daemon.wait_for("round completed");
    network.cut_off(SERVER);
    // A round that was under way may have been cut off later.
    wait_until("a connect has not been answered", || {
        daemon.lines_with("round failed").iter().any(|line| line["reason"] == "connect_timeout")
    });
    let seen = daemon.lines_with("round failed").len();
    let failed = assert_fails(&daemon, seen, "connect_timeout");
    assert_eq!(failed["address"], server, "{failed}");
    assert_recovers(&network, &daemon);
}

#[test]
fn a_server_that_vanishes_from_a_kept_connection_fails_a_round_by_the_reply_timeout_and_is_found_again() {
    let Some(network) = Namespace::enter() else { return };
    let server = honest_at("192.0.2.2:0").to_string();
    let daemon = start(&network, &server, "kept");
    daemon.wait_for("round completed");
    network.cut_off(SERVER);
    assert_fails(&daemon, 0, "reply_timeout");
    assert_fails(&daemon, 1, "connect_timeout");
    assert_recovers(&network, &daemon);
    let connections = scrape(daemon.metrics_address()).sum("cliente_connections_total", &[]);
    assert_eq!(connections, 2, "the one that was cut off, and the one that is kept since");
}

#[test]
fn a_server_that_vanishes_during_a_round_fails_it_by_the_reply_timeout() {
    let Some(network) = Namespace::enter() else { return };
    let (asked, requests) = std::sync::mpsc::channel();
    let server = serve_at("192.0.2.2:0", move |request| drop(asked.send(request))).to_string();
    let daemon = start(&network, &server, "fresh");
    let mut request = support::next(&requests);
    network.cut_off(SERVER);
    let reply = request.right();
    request.say(&reply);
    assert_fails(&daemon, 0, "reply_timeout");
    drop(request);
    network.heal();
    loop {
        let mut request = support::next(&requests);
        let reply = request.right();
        if request.try_say(&reply) && !daemon.lines_with("round completed").is_empty() {
            break;
        }
    }
}
