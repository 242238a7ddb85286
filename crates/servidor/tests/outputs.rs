//! Standard error that takes no lines: requests are answered all the same, and each line is written or counted.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;
use testkit::{Peer, Unheard, scrape, wait_until};

const SERVIDOR: &str = env!("CARGO_BIN_EXE_servidor");
const PORT: u16 = 20_888;

fn start(host: Ipv4Addr, redirection: &str) -> Unheard {
    Unheard::start(SERVIDOR, host, redirection, &["--listen", &format!("{host}:{PORT}")], &[])
}

/// Asks for 7, hundreds of times, on one connection.
fn ask(host: Ipv4Addr, requests: usize) {
    let mut peer = Peer::connect(SocketAddr::from((host, PORT)));
    for _ in 0..requests / 100 {
        peer.send("7\n".repeat(100));
        for _ in 0..100 {
            assert_eq!(peer.line(), "ÍMPAR\n");
        }
    }
}

/// Two addresses, each connection from its beginning to its end, and its numbers.
fn events(connections: u64, requests: u64) -> u64 {
    2 + 2 * connections + requests
}

fn answered(daemon: &Unheard) -> u64 {
    scrape(daemon.metrics_address()).count("servidor_numbers_total", &[("class", "odd")])
}

/// Counted once a second.
fn dropped(daemon: &Unheard) -> u64 {
    scrape(daemon.metrics_address()).count("servidor_log_lines_dropped_total", &[])
}

#[test]
fn with_standard_error_closed_requests_are_still_answered() {
    let host = Unheard::host(0);
    let daemon = start(host, "2>&-");
    ask(host, 1000);
    assert_eq!(answered(&daemon), 1000);
    daemon.assert_stops();
}

#[test]
fn with_a_full_pipe_requests_are_still_answered_and_each_line_is_written_or_counted() {
    let host = Unheard::host(1);
    let mut daemon = start(host, "");
    ask(host, 20_000);
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_numbers_total", &[("class", "odd")]), 20_000);
    assert_eq!(metrics.count("servidor_log_events_suppressed_total", &[]), 0);
    wait_until("lost lines are counted", || dropped(&daemon) > 0);

    let pipe = BufReader::new(daemon.take_log());
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let reader = thread::spawn(move || {
        for line in pipe.lines() {
            let line = line.expect("text");
            serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    wait_until("each line is written or counted", || {
        written.load(Ordering::Relaxed) + dropped(&daemon) == events(1, 20_000)
    });
    daemon.assert_stops();
    reader.join().expect("each line is whole");
}

#[test]
fn a_log_that_nobody_reads_does_not_delay_a_stop() {
    let host = Unheard::host(3);
    // As under systemd, where both outputs are the journal.
    let daemon = start(host, "1>&2");
    ask(host, 20_000);
    daemon.assert_stops();
}

#[test]
fn with_a_full_disk_requests_are_still_answered_and_lost_lines_are_counted() {
    let host = Unheard::host(2);
    let daemon = start(host, "2>/dev/full");
    ask(host, 100);
    wait_until("lost lines are counted", || dropped(&daemon) == events(1, 100));
    assert_eq!(answered(&daemon), 100);
    daemon.assert_stops();
}

#[test]
fn when_a_full_disk_has_space_again_lines_are_written_again_and_none_is_joined_to_one_that_was_cut_off() {
    let host = Unheard::host(4);
    let arguments = ["--listen", &format!("{host}:{PORT}")];
    let Some((daemon, disk)) = Unheard::start_on_small_disk(SERVIDOR, host, &arguments, &[]) else { return };
    ask(host, 100);
    wait_until("lines are written", || disk.lines() == (events(1, 100), 0));

    disk.fill();
    ask(host, 1000);
    wait_until("lines are lost, and counted", || {
        let (whole, cut) = disk.lines();
        cut <= 1 && whole + dropped(&daemon) == events(2, 1100)
    });
    assert_eq!(answered(&daemon), 1100);
    let (lost, (whole, cut)) = (dropped(&daemon), disk.lines());
    assert!(lost > 0, "the page that was begun has room for a few lines");

    disk.free();
    ask(host, 100);
    wait_until("lines are written again", || disk.lines() == (whole + events(1, 100) - 2, cut));
    assert_eq!((dropped(&daemon), answered(&daemon)), (lost, 1200));
    daemon.assert_stops();
}
