//! `cliente bench` against servers that cannot do what is asked of them.

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cliente::bench::progress::Progress;
use cliente::bench::{Load, Outcome, run};
use cliente::round::reason::Reason;
use serde_json::Value;
use support::{CLIENTE, held, next, serve};
use testkit::{DEADLINE, let_pass};

fn bench(settings: &[&str], target: SocketAddr, arguments: &[&str]) -> (Output, Value) {
    let mut command = Command::new(CLIENTE);
    command.args(settings).args(["bench", "--json", "--warmup", "0s", "--target", &target.to_string()]);
    let output = command.args(arguments).env_clear().stdin(Stdio::null()).output().expect("it starts");
    let report = serde_json::from_slice(&output.stdout).expect("one JSON value");
    (output, report)
}

fn open_loop(address: SocketAddr, rate: f64, duration: Duration) -> Load {
    Load { rate: Some(rate), duration, ..support::load(address) }
}

fn reply_timeouts(outcome: &Outcome) -> u64 {
    outcome.tally.failures[Reason::ReplyTimeout.index()]
}

/// Takes its time for each reply.
fn slow(time: Duration) -> SocketAddr {
    serve(move |asked| {
        let mut next = Some(asked);
        while let Some(mut asked) = next {
            let_pass(Instant::now(), time);
            let reply = asked.right();
            asked.say(&reply);
            next = asked.next();
        }
    })
}

#[test]
fn a_request_that_was_never_sent_is_no_timeout_of_the_server() {
    let target = slow(Duration::from_millis(200));
    let arguments = ["--connections", "1", "--rate", "100", "--duration", "300ms"];
    let (output, report) = bench(&["--reply-timeout", "2s"], target, &arguments);
    assert_eq!(report["failures"]["reply_timeout"], 0, "{report:#}");
    let unsent = report["failures"]["unsent"].as_u64().expect("a count");
    assert_eq!(report["right"].as_u64().map(|right| right + unsent), Some(30), "{report:#}");
    assert!(unsent > 0, "{report:#}");
    assert!(report["warnings"].to_string().contains("the rate was not kept"), "{report:#}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nothing_is_sent_after_a_stop() {
    let (address, asked) = held();
    let load = open_loop(address, 100.0, Duration::from_hours(1));
    let progress = Progress::new(1);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| run(&load, &progress).expect("the system gives what it takes"));
        let mut asked = next(&asked);
        // Meanwhile more requests fall due.
        let_pass(Instant::now(), Duration::from_millis(100));
        progress.stop();
        let reply = asked.right();
        asked.say(&reply);
        assert!(asked.next().is_none(), "the connection ends without another request");
        run.join().expect("it does not panic")
    });
    assert!(outcome.is_stopped);
    assert_eq!((outcome.tally.right, reply_timeouts(&outcome)), (1, 0));
    assert!(outcome.tally.unsent > 0);
    assert!(outcome.all_right(), "what had fallen due at a stop is no failure");
}

#[test]
fn a_stop_waits_for_a_reply_no_longer_than_its_timeout() {
    let (address, asked) = held();
    let load = Load { reply_timeout: Duration::from_millis(200), ..open_loop(address, 1.0, DEADLINE * 100) };
    let progress = Progress::new(1);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| run(&load, &progress).expect("the system gives what it takes"));
        let asked = next(&asked);
        progress.stop();
        let outcome = run.join().expect("it does not panic");
        drop(asked);
        outcome
    });
    assert_eq!((outcome.tally.right, reply_timeouts(&outcome)), (0, 1));
    assert!(!outcome.all_right(), "nothing was measured");
}

#[test]
fn more_connections_than_the_server_serves_are_explained() {
    let (target, _) = support::servidor::serve("127.0.0.1", &["--max-connections", "5"]);
    let arguments = ["--connections", "50", "--duration", "200ms"];
    let (output, report) = bench(&["--reply-timeout", "2s"], target, &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["connections_never_served"], 45, "{report:#}");
    let warnings = report["warnings"].to_string();
    let explanation = "45 of 50 connections never got a reply: the server seems to serve at most 5 at a time";
    assert!(warnings.contains(explanation), "{warnings}");
}

#[test]
fn connections_that_the_server_closes_unasked_are_counted() {
    let address = serve(|mut asked| {
        let reply = asked.right();
        asked.say(&reply);
    });
    let load = open_loop(address, 2.0, Duration::from_millis(600));
    let outcome = run(&load, &Progress::new(1)).expect("the system gives what it takes");
    assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
    assert_eq!(outcome.tally.right, 2);
    assert!(outcome.tally.closed_unasked >= 1, "the first one, half a second before the next request");
}
