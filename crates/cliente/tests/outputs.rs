//! Standard error that takes no lines: rounds go on all the same, and each line is written or counted.

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use serde_json::Value;
use support::{CLIENTE, UNDISTURBED, serve};
use testkit::{Unheard, scrape, wait_until};

/// The line of the HTTP side's address.
const FIRST_LINES: u64 = 1;

/// A server that gives as many right replies as the test permits, and then makes the client wait.
fn permitted() -> (SocketAddr, Sender<()>) {
    let (sender, permits) = channel();
    let address = serve(move |asked| {
        let mut next = Some(asked);
        // A test that is over permits no more.
        while let Some(mut asked) = next.filter(|_| permits.recv().is_ok()) {
            let reply = asked.right();
            asked.say(&reply);
            next = asked.next();
        }
    });
    (address, sender)
}

/// Permits so many rounds more, and waits until there have been `total`.
fn permit(daemon: &Unheard, permits: &Sender<()>, rounds: u64, total: u64) {
    for _ in 0..rounds {
        permits.send(()).expect("the server is there");
    }
    wait_until("rounds go on", || {
        scrape(daemon.metrics_address()).sum("cliente_numbers_total", &[]) == total
    });
}

fn arguments(target: &str) -> [&str; 10] {
    let patient = ["--reply-timeout", "60s", "--drain-timeout", "100ms"];
    let [a, b, c, d] = patient;
    ["--target", target, "--interval", "1ms", "--connection", "kept", a, b, c, d]
}

fn start(host: Ipv4Addr, redirection: &str) -> (Unheard, Sender<()>) {
    let (target, permits) = permitted();
    let target = target.to_string();
    (Unheard::start(CLIENTE, host, redirection, &arguments(&target), &[UNDISTURBED]), permits)
}

/// Counted once a second.
fn dropped(daemon: &Unheard) -> u64 {
    scrape(daemon.metrics_address()).count("cliente_log_lines_dropped_total", &[])
}

#[test]
fn with_standard_error_closed_rounds_go_on() {
    let (daemon, permits) = start(Unheard::host(0), "2>&-");
    permit(&daemon, &permits, 100, 100);
    daemon.assert_stops();
}

#[test]
fn with_a_full_disk_rounds_go_on_and_lost_lines_are_counted() {
    let (daemon, permits) = start(Unheard::host(1), "2>/dev/full");
    permit(&daemon, &permits, 100, 100);
    wait_until("lost lines are counted", || dropped(&daemon) == FIRST_LINES + 100);
    daemon.assert_stops();
}

#[test]
fn with_a_full_pipe_rounds_go_on_and_each_line_is_written_or_counted() {
    // More than the pipe and the queue take.
    const ROUNDS: u64 = 3000;
    let (mut daemon, permits) = start(Unheard::host(2), "");
    permit(&daemon, &permits, ROUNDS, ROUNDS);
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
        written.load(Ordering::Relaxed) + dropped(&daemon) == FIRST_LINES + ROUNDS
    });
    daemon.assert_stops();
    reader.join().expect("each line is whole");
}

#[test]
fn when_a_full_disk_has_space_again_lines_are_written_again() {
    let (target, permits) = permitted();
    let target = target.to_string();
    let disk = Unheard::start_on_small_disk(CLIENTE, Unheard::host(3), &arguments(&target), &[UNDISTURBED]);
    let Some((daemon, disk)) = disk else { return };
    permit(&daemon, &permits, 50, 50);
    wait_until("lines are written", || disk.lines() == (FIRST_LINES + 50, 0));

    disk.fill();
    permit(&daemon, &permits, 200, 250);
    wait_until("lines are lost, and counted", || {
        let (whole, cut) = disk.lines();
        cut <= 1 && whole + dropped(&daemon) == FIRST_LINES + 250
    });
    let (lost, (whole, cut)) = (dropped(&daemon), disk.lines());
    assert!(lost > 0, "the page that was begun has room for a few lines");

    disk.free();
    permit(&daemon, &permits, 50, 300);
    wait_until("lines are written again", || disk.lines() == (whole + 50, cut));
    assert_eq!(dropped(&daemon), lost);
    daemon.assert_stops();
}
