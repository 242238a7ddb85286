//! Clients of the HTTP side that advertise a window of zero for longer than they may take for their answers.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::daemon;
use testkit::{Peer, let_pass, scrape, wait_until};

/// Enough for a text of several megabytes, which no buffer of the kernel holds.
const TARGETS: u16 = 1000;
/// How long the daemon waits until a client has taken its answer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

#[test]
fn a_scraper_whose_window_stays_closed_is_disconnected_and_keeps_no_other_waiting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("targets.json");
    let targets: Vec<String> = (1..=TARGETS).map(|port| format!("127.0.0.1:{port}")).collect();
    std::fs::write(&file, json!([{ "targets": targets }]).to_string()).expect("a new folder");
    let file = file.to_str().expect("a path in UTF-8");
    let daemon =
        daemon(&["--target-file", file, "--interval", "1h", "--log-level", "info,cliente::observe=off"]);
    let http = daemon.metrics_address();
    let size = scrape(http).text.len();
    let files = daemon.open_files();

    let mut peer = Peer::connect_with_room(2 * 1024, http);
    peer.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer.wait_until_full();
    scrape(http);
    let_pass(Instant::now(), EXCHANGE_TIMEOUT);
    wait_until("it is disconnected", || daemon.open_files() <= files);
    scrape(http);
    let received = peer.bytes_to_the_end();
    assert!(received < size, "{received} of {size} bytes had left the daemon");
}

#[test]
fn answers_that_nobody_reads_are_forgotten_by_the_kernel() {
    let daemon = daemon(&["--target", "127.0.0.1:1", "--interval", "1h"]);
    let peers: Vec<Peer> = (0..20)
        .map(|_| {
            let mut peer = Peer::connect_with_room(1024, daemon.metrics_address());
            peer.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            peer
        })
        .collect();
    for peer in &peers {
        peer.wait_until_full();
    }
    let_pass(Instant::now(), EXCHANGE_TIMEOUT);
    for peer in &peers {
        peer.wait_until_forgotten();
    }
}
