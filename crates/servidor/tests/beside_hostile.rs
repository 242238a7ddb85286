//! An honest client beside hostile peers: each of its rounds is answered rightly.

mod common;

use common::start;
use testkit::hostile::{Honest, Mix};
use testkit::{Metrics, scrape, wait_until};

/// Asks until the hostile peers have acted this often, and longer. Returns the metrics after that.
fn ask_beside(mix: Mix, acts: u64) -> Metrics {
    let places = mix.places().to_string();
    let daemon = start(&["--allow", "127.0.0.1/32", "--max-connections", &places, "--line-timeout", "2s"]);
    let mut honest = Honest::connect(daemon.address());
    let hostile = mix.begin(daemon.address(), daemon.metrics_address());
    wait_until("they have misbehaved", || {
        honest.rounds();
        hostile.acts() >= acts
    });
    for _ in 0..20 {
        honest.rounds();
    }
    drop(hostile);
    honest.rounds();
    scrape(daemon.metrics_address())
}

fn closed_for(metrics: &Metrics, reason: &str) -> u64 {
    metrics.count("servidor_connections_closed_total", &[("reason", reason)])
}

#[test]
fn beside_tricklers() {
    // Each connects, sends a byte a second until its line has taken too long, and comes back.
    let metrics = ask_beside(Mix::Tricklers, 20);
    assert!(closed_for(&metrics, "slow_line") > 0, "{}", metrics.text);
}

#[test]
fn beside_silent_peers() {
    let metrics = ask_beside(Mix::Silent, 5);
    assert!(metrics.count("servidor_connections_total", &[]) > 5 + 20, "{}", metrics.text);
}

#[test]
fn beside_peers_that_never_read() {
    let metrics = ask_beside(Mix::NeverReading, 50);
    assert!(metrics.sum("servidor_numbers_total", &[]) > 10_000, "{}", metrics.text);
}

#[test]
fn beside_resetters() {
    let metrics = ask_beside(Mix::Resetters, 500);
    assert!(closed_for(&metrics, "io") > 0, "{}", metrics.text);
}

#[test]
fn beside_http_peers_that_misbehave() {
    let metrics = ask_beside(Mix::Http, 200);
    assert!(metrics.count("servidor_connections_total", &[]) > 20, "{}", metrics.text);
}

#[test]
fn beside_a_flood_of_strangers() {
    let metrics = ask_beside(Mix::Strangers, 2000);
    let refused = metrics.count("servidor_connections_refused_total", &[("reason", "not_allowed")]);
    assert!(refused > 1000, "{}", metrics.text);
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 0);
}
