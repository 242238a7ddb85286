//! The real daemon's rhythm: a fixed rate, ticks that are skipped and counted, and none bunched.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{held, honest, next, wait_for_rounds};
use testkit::{Daemon, Metrics, Signal, scrape, wait_until};

const INTERVAL: Duration = Duration::from_millis(40);

fn start(target: SocketAddr) -> Daemon {
    support::daemon(&["--target", &target.to_string(), "--interval", "40ms", "--reply-timeout", "1m"])
}

/// Lets so many intervals go by.
fn pass(intervals: u32) {
    let begun = Instant::now();
    wait_until("time passes", || begun.elapsed() > intervals * INTERVAL);
}

fn count(metrics: &Metrics, name: &str, target: SocketAddr) -> u64 {
    metrics.count(name, &[("server", &target.to_string())])
}

/// Whether every round began less than an interval after it was due; 41 ms is the bucket that holds an interval.
fn all_in_time(metrics: &Metrics) -> bool {
    let within = metrics.count("cliente_schedule_delay_seconds_bucket", &[("le", "0.04096")]);
    within == metrics.count("cliente_schedule_delay_seconds_count", &[])
}

#[test]
fn ticks_during_a_slow_round_are_skipped_and_counted() {
    let (target, requests) = held();
    let daemon = start(target);
    let metrics = daemon.metrics_address();
    for round in 1..=3 {
        let mut asked = next(&requests);
        let before = scrape(metrics);
        assert_eq!(count(&before, "cliente_rounds_total", target), round);
        pass(5);
        assert!(requests.try_recv().is_err(), "a round began while another was under way");
        let reply = asked.right();
        asked.say(&reply);
        asked.wait_for_fin();
        drop(asked);
        let skipped = count(&before, "cliente_rounds_skipped_total", target);
        wait_until("the skipped ticks are counted", || {
            count(&scrape(metrics), "cliente_rounds_skipped_total", target) >= skipped + 5
        });
    }
    let _fourth = next(&requests);
    let metrics = scrape(metrics);
    assert_eq!(count(&metrics, "cliente_rounds_total", target), 4);
    assert!(all_in_time(&metrics), "{}", metrics.text);
}

#[test]
fn what_a_paused_process_missed_is_not_made_up_for() {
    let target = honest();
    let daemon = start(target);
    let metrics = daemon.metrics_address();
    wait_for_rounds(&daemon, 2);
    daemon.signal(Signal::STOP);
    pass(20);
    daemon.signal(Signal::CONT);
    wait_until("the skipped ticks are counted", || {
        count(&scrape(metrics), "cliente_rounds_skipped_total", target) >= 15
    });
    let so_far = daemon.lines_with("round completed").len();
    wait_for_rounds(&daemon, so_far + 3);
    let metrics = scrape(metrics);
    assert!(all_in_time(&metrics), "{}", metrics.text);
}
