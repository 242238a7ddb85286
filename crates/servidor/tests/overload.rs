//! A wave of connections beyond the limit with `overload = "refuse"`: each is refused, and none keeps a file open.

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;

use common::start;
use testkit::{Daemon, Peer, Stall, allow_open_files, scrape, wait_until};

const WAVE: u64 = 900;

/// A daemon with all permits taken, the peer that has them, and how many files it has open.
fn full_daemon() -> (Daemon, Peer, u64) {
    allow_open_files();
    let daemon = start(&["--overload", "refuse", "--max-connections", "1", "--log-events-per-second", "0"]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    let files = daemon.open_files();
    (daemon, served, files)
}

/// Asserts that each connection of the wave was refused, and that none is left. The peers stay open on their side.
fn assert_all_refused(wave: &[Peer], daemon: &Daemon, files: u64) {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for peer in wave {
        let mut reply = String::new();
        let end = peer.stream().read_to_string(&mut reply).map_or_else(|error| error.to_string(), |_| reply);
        *ends.entry(end).or_default() += 1;
    }
    let is_refusal = |end: &String| end.starts_with("ERRO ocupado: ") && end.ends_with('\n');
    assert!(ends.keys().all(is_refusal), "how many read what: {ends:?}");
    wait_until("the daemon's side of each is closed", || daemon.open_files() <= files);
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "overload")]), WAVE);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 1);
}

#[test]
fn each_of_a_wave_beyond_the_limit_reads_the_refusal_and_then_fin() {
    let (daemon, mut served, files) = full_daemon();
    let wave: Vec<Peer> = (0..WAVE).map(|_| Peer::connect(daemon.address())).collect();
    assert_all_refused(&wave, &daemon, files);
    assert_eq!(served.ask("3\n"), "ÍMPAR\n");
}

#[test]
fn each_of_a_wave_that_has_already_asked_reads_the_refusal_and_then_fin() {
    let (daemon, mut served, files) = full_daemon();
    // All of them have asked before the daemon sees the first.
    let stall = Stall::stop(&daemon);
    let mut wave: Vec<Peer> = (0..WAVE).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut wave {
        peer.send("2\n");
    }
    drop(stall);
    assert_all_refused(&wave, &daemon, files);
    assert_eq!(served.ask("3\n"), "ÍMPAR\n");
}
