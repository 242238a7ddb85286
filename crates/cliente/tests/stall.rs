//! A stall of the client: a reply that has arrived counts, and the stall is not blamed on the server.

mod support;

use std::time::Duration;

use support::{CLIENTE, held, honest, next};
use testkit::cgroup::Cgroup;
use testkit::{Daemon, Stall, scrape, wait_until};

const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

fn start(target: &str, arguments: &[&str]) -> Daemon {
    Daemon::start(CLIENTE, &[&["--target", target], arguments].concat())
}

fn arguments(interval: &str) -> [&str; 4] {
    ["--interval", interval, "--reply-timeout", "1s"]
}

/// A round whose reply comes during a stall that outlasts its deadline.
fn answer_during(stall: impl FnOnce(&Daemon) -> Stall<'_>, daemon: &Daemon, reply: impl FnOnce()) {
    let stall = stall(daemon);
    reply();
    stall.outlast(REPLY_TIMEOUT * 3 / 2);
}

/// Stalls a daemon during a round, and checks that the round is neither right nor failed.
fn stall_disturbs(
    stall: impl FnOnce(&Daemon) -> Stall<'_>,
    daemon: &Daemon,
    target: &str,
    reply: impl FnOnce(),
) {
    answer_during(stall, daemon, reply);
    let line = daemon.wait_for("round disturbed");
    let stalled = line["stalled_us"].as_u64().expect("a number");
    assert!(Duration::from_micros(stalled) >= REPLY_TIMEOUT, "{line}");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("cliente_rounds_disturbed_total", &[("server", target)]), 1);
    assert!(daemon.lines_with("round failed").is_empty() && daemon.lines_with("round completed").is_empty());
}

#[test]
fn a_round_during_which_the_client_was_stopped_is_disturbed() {
    let (address, asked) = held();
    let target = address.to_string();
    let daemon = start(&target, &arguments("1h"));
    let mut asked = next(&asked);
    stall_disturbs(Stall::stop, &daemon, &target, move || asked.say(&asked.right()));
}

#[test]
fn a_round_during_which_the_client_was_frozen_is_disturbed() {
    for cgroup in Cgroup::all_with("freezer") {
        let (address, asked) = held();
        let target = address.to_string();
        let daemon = start(&target, &arguments("1h"));
        cgroup.add(&daemon);
        let mut asked = next(&asked);
        let answer = move || asked.say(&asked.right());
        stall_disturbs(|daemon| Stall::freeze(daemon, &cgroup), &daemon, &target, answer);
    }
}

#[test]
fn a_deadline_that_passed_in_a_stall_without_a_reply_fails_no_round() {
    let (address, asked) = held();
    let target = address.to_string();
    let daemon = start(&target, &arguments("1h"));
    let asked = next(&asked);
    stall_disturbs(Stall::stop, &daemon, &target, || ());
    drop(asked);
}

/// Where stalls are ignored, the reply itself shows that the socket was read before the deadline was enforced.
#[test]
fn a_reply_that_arrived_during_a_stall_is_read_before_the_deadline_is_enforced() {
    let (address, asked) = held();
    let target = address.to_string();
    let daemon = support::daemon(&[&["--target", &target], &arguments("1h")[..]].concat());
    let mut asked = next(&asked);
    answer_during(Stall::stop, &daemon, move || asked.say(&asked.right()));
    let line = daemon.wait_for("round completed");
    assert!(line["round_trip_us"].as_u64() >= Some(1_000_000), "{line}");
    assert!(daemon.lines_with("round failed").is_empty());
}

#[test]
fn a_throttled_client_blames_no_server() {
    for cgroup in Cgroup::all_with("cpu") {
        let target = honest().to_string();
        let daemon =
            start(&target, &["--interval", "20ms", "--reply-timeout", "50ms", "--connect-timeout", "50ms"]);
        daemon.wait_for("metrics listening");
        cgroup.limit_processor(2);
        cgroup.add(&daemon);
        wait_until("rounds are disturbed", || daemon.lines_with("round disturbed").len() >= 10);
        assert!(daemon.lines_with("round failed").is_empty(), "{:?}", daemon.lines_with("round failed"));
    }
}
