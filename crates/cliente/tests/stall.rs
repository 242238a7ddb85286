//! A stall of the client: a reply that has arrived counts, and the stall is not blamed on the server.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use support::names::{DAY, World, silent, wait_for_round_at};
use support::{Asked, CLIENTE, held, honest, honest_at, next};
use testkit::cgroup::Cgroup;
use testkit::dns::Kind;
use testkit::{Daemon, Signal, Stall, scrape, side_by_side, wait_until};

/// Far more than from a request to the stall.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

fn start(target: &str, arguments: &[&str]) -> Daemon {
    Daemon::start(CLIENTE, &[&["--target", target], arguments].concat())
}

fn arguments(interval: &str) -> [&str; 4] {
    ["--interval", interval, "--reply-timeout", "3s"]
}

/// A round whose reply comes during a stall that outlasts its deadline.
fn answer_during(stall: impl FnOnce(&Daemon) -> Stall<'_>, daemon: &Daemon, reply: impl FnOnce()) {
    let stall = stall(daemon);
    reply();
    stall.outlast(REPLY_TIMEOUT * 5 / 4);
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
    assert!(line["round_trip_us"].as_u64() >= Some(3_000_000), "{line}");
    assert!(daemon.lines_with("round failed").is_empty());
}

/// All at the same time, since each takes as long as its deadline.
#[test]
fn what_arrives_during_a_stall_of_connecting_resolving_or_draining_is_used() {
    side_by_side(&[
        (
            "a_connection_that_is_made_during_a_stall_is_used",
            a_connection_that_is_made_during_a_stall_is_used,
        ),
        ("an_address_that_is_found_during_a_stall_is_used", an_address_that_is_found_during_a_stall_is_used),
        (
            "a_reply_that_arrives_during_a_stall_of_the_drain_is_right",
            a_reply_that_arrives_during_a_stall_of_the_drain_is_right,
        ),
    ]);
}

fn a_connection_that_is_made_during_a_stall_is_used() {
    let (listener, queued) = silent("127.0.0.1:0");
    let target = listener.local_addr().expect("it is bound");
    let timeout = Duration::from_secs(6);
    let daemon =
        support::daemon(&["--target", &target.to_string(), "--interval", "1h", "--connect-timeout", "6s"]);
    wait_until("it connects", || is_connecting_to(target));
    let stall = Stall::stop(&daemon);
    // The kernel sends the SYN again, after one second and after three.
    for _ in &queued {
        listener.accept().expect("one of those that filled the queue");
    }
    let (accepted, _) = listener.accept().expect("a connection");
    stall.outlast(timeout);
    drop(stall);
    let mut asked = Asked::wait(accepted).expect("a request");
    asked.say(&asked.right());
    let line = daemon.wait_for("round completed");
    assert!(line["connect_us"].as_u64() >= Some(6_000_000), "{line}");
}

/// Whether a connection to there has begun and is not made: proc_pid_net(5).
fn is_connecting_to(address: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let there = format!(":{:04X}", address.port());
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2).is_some_and(|remote| remote.ends_with(&there)) && fields[3] == "02"
    })
}

fn an_address_that_is_found_during_a_stall_is_used() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses("web.example", &["192.0.2.2"], DAY);
    world.dns.hold();
    let timeout = Duration::from_secs(4);
    let daemon =
        world.daemon(&["--target", "web.example:8888", "--interval", "1h", "--connect-timeout", "4s"]);
    for kind in [Kind::A, Kind::Aaaa] {
        world.dns.wait_for_queries("web.example", kind, 1);
    }
    let stall = Stall::stop(&daemon);
    world.dns.release();
    stall.outlast(timeout);
    drop(stall);
    wait_for_round_at(&daemon, "192.0.2.2:8888");
    assert_eq!(daemon.lines_with("round failed").len(), 0);
}

fn a_reply_that_arrives_during_a_stall_of_the_drain_is_right() {
    let (address, asked) = held();
    let target = address.to_string();
    let arguments = ["--interval", "1h", "--reply-timeout", "1h", "--drain-timeout", "12s"];
    let mut daemon = support::daemon(&[&["--target", &target], &arguments[..]].concat());
    let mut asked = next(&asked);
    daemon.signal(Signal::TERM);
    daemon.wait_for("draining");
    let stall = Stall::stop(&daemon);
    asked.say(&asked.right());
    // A quarter of the time is left when it runs again.
    stall.outlast(Duration::from_secs(12));
    drop(stall);
    assert_eq!(daemon.wait().code(), Some(0));
    let stopped = daemon.wait_for("stopped");
    assert_eq!((&stopped["right"], &stopped["forced"]), (&1.into(), &0.into()), "{stopped}");
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
