//! A stall of the daemon beyond its deadlines: what arrived meanwhile is read before a deadline is enforced.

mod common;

use std::time::Duration;

use common::start;
use testkit::cgroup::Cgroup;
use testkit::{Daemon, Peer, Signal, Stall, allow_open_files, scrape_until, side_by_side};

/// The deadline under test, as [`PATIENCE`] says it: far more than from the event that sets it to the stall, also on a machine
/// that is overloaded.
const WAIT: Duration = Duration::from_secs(12);
const PATIENCE: &str = "12s";

/// A line whose end arrives during the stall, after the first bytes have been waited for long enough.
fn finish_a_first_line_during(stall: impl FnOnce(&Daemon) -> Stall<'_>, daemon: &Daemon) {
    let mut peer = Peer::connect(daemon.address());
    peer.send("1");
    peer.wait_until_read();
    let stall = stall(daemon);
    peer.send("2\n");
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(peer.line(), "PAR\n", "the answer to 12");
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n", "the connection stays");
}

/// A request that arrives during the stall, on a connection that has been idle for long enough to be closed.
fn ask_on_an_idle_connection_during(stall: impl FnOnce(&Daemon) -> Stall<'_>, daemon: &Daemon) {
    let mut peer = Peer::connect(daemon.address());
    daemon.wait_for("connection established");
    let stall = stall(daemon);
    peer.send("7\n");
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(peer.line(), "ÍMPAR\n");
    assert_eq!(peer.ask("2\n"), "PAR\n", "the connection stays");
}

/// All at the same time, since each takes as long as the deadline.
#[test]
fn what_arrives_during_a_stall_is_read_before_a_deadline_is_enforced() {
    side_by_side(&[
        (
            "a_first_line_whose_end_arrives_during_a_stall_is_one_request",
            a_first_line_whose_end_arrives_during_a_stall_is_one_request,
        ),
        (
            "a_request_that_arrives_during_a_stall_is_answered_on_an_idle_connection",
            a_request_that_arrives_during_a_stall_is_answered_on_an_idle_connection,
        ),
        (
            "a_first_line_whose_end_arrives_while_frozen_is_one_request",
            a_first_line_whose_end_arrives_while_frozen_is_one_request,
        ),
        (
            "a_request_that_arrives_while_frozen_is_answered_on_an_idle_connection",
            a_request_that_arrives_while_frozen_is_answered_on_an_idle_connection,
        ),
        (
            "a_later_line_whose_end_arrives_during_a_stall_is_answered",
            a_later_line_whose_end_arrives_during_a_stall_is_answered,
        ),
        (
            "bare_digits_that_partly_arrive_during_a_stall_are_one_number",
            bare_digits_that_partly_arrive_during_a_stall_are_one_number,
        ),
        (
            "a_batch_that_arrives_during_a_stall_is_answered_on_a_kept_connection",
            a_batch_that_arrives_during_a_stall_is_answered_on_a_kept_connection,
        ),
        (
            "more_connections_than_one_wait_reports_are_all_answered_after_a_stall",
            more_connections_than_one_wait_reports_are_all_answered_after_a_stall,
        ),
        (
            "what_arrived_during_a_stall_that_begins_before_a_stop_is_answered",
            what_arrived_during_a_stall_that_begins_before_a_stop_is_answered,
        ),
    ]);
}

fn a_first_line_whose_end_arrives_during_a_stall_is_one_request() {
    let daemon = start(&["--unterminated-wait", PATIENCE, "--line-timeout", "60s"]);
    finish_a_first_line_during(Stall::stop, &daemon);
}

fn a_request_that_arrives_during_a_stall_is_answered_on_an_idle_connection() {
    let daemon = start(&["--idle-timeout", PATIENCE]);
    ask_on_an_idle_connection_during(Stall::stop, &daemon);
}

fn a_first_line_whose_end_arrives_while_frozen_is_one_request() {
    for cgroup in Cgroup::all_with("freezer") {
        let daemon = start(&["--unterminated-wait", PATIENCE, "--line-timeout", "60s"]);
        daemon.wait_for("listening");
        cgroup.add(&daemon);
        finish_a_first_line_during(|daemon| Stall::freeze(daemon, &cgroup), &daemon);
    }
}

fn a_request_that_arrives_while_frozen_is_answered_on_an_idle_connection() {
    for cgroup in Cgroup::all_with("freezer") {
        let daemon = start(&["--idle-timeout", PATIENCE]);
        daemon.wait_for("listening");
        cgroup.add(&daemon);
        ask_on_an_idle_connection_during(|daemon| Stall::freeze(daemon, &cgroup), &daemon);
    }
}

fn a_later_line_whose_end_arrives_during_a_stall_is_answered() {
    let daemon = start(&["--line-timeout", PATIENCE]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("7\n1"), "ÍMPAR\n");
    let stall = Stall::stop(&daemon);
    peer.send("2\n");
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(peer.line(), "PAR\n", "the answer to 12");
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n", "the connection stays");
}

fn bare_digits_that_partly_arrive_during_a_stall_are_one_number() {
    let daemon = start(&["--unterminated-wait", PATIENCE, "--line-timeout", "60s"]);
    let mut peer = Peer::connect(daemon.address());
    peer.send("1");
    peer.wait_until_read();
    let stall = Stall::stop(&daemon);
    peer.send("2");
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(peer.rest(), "PAR", "the answer to 12, then FIN");
}

fn a_batch_that_arrives_during_a_stall_is_answered_on_a_kept_connection() {
    let daemon = start(&["--idle-timeout", PATIENCE]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    let stall = Stall::stop(&daemon);
    peer.send("7\n12345678901\n");
    peer.send("x\n8\n");
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(peer.line(), "ÍMPAR\n");
    assert_eq!(peer.line(), "12345678901\n");
    assert!(peer.line().starts_with("ERRO invalido: "));
    assert_eq!(peer.line(), "PAR\n");
    assert_eq!(peer.ask("7\n"), "ÍMPAR\n", "the connection stays");
}

fn more_connections_than_one_wait_reports_are_all_answered_after_a_stall() {
    allow_open_files();
    let daemon = start(&["--idle-timeout", PATIENCE, "--max-connections", "400", "--worker-threads", "1"]);
    let mut peers: Vec<Peer> = (0..300).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    let stall = Stall::stop(&daemon);
    for peer in &mut peers {
        peer.send("7\n");
    }
    stall.outlast(WAIT);
    drop(stall);
    let replies: Vec<String> = peers.iter_mut().map(Peer::line).collect();
    let unanswered = replies.iter().filter(|reply| *reply != "ÍMPAR\n").count();
    assert_eq!(unanswered, 0, "of 300");
}

fn what_arrived_during_a_stall_that_begins_before_a_stop_is_answered() {
    let mut daemon = start(&["--idle-timeout", PATIENCE, "--drain-timeout", "1s"]);
    let mut new = Peer::connect(daemon.address());
    daemon.wait_for("connection established");
    let mut kept = Peer::connect(daemon.address());
    assert_eq!(kept.ask("2\n"), "PAR\n");
    let stall = Stall::stop(&daemon);
    new.send("12345678901");
    kept.send("7\n8\n");
    daemon.signal(Signal::TERM);
    stall.outlast(WAIT);
    drop(stall);
    assert_eq!(new.rest(), "12345678901");
    assert_eq!(kept.rest(), "ÍMPAR\nPAR\n");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.wait_for("stopped")["forced"], 0);
}

/// Stops the daemon in the middle of its drain, while these peers may still ask. `None` if the machine was too busy to do so
/// within the second that newcomers have.
fn stall_in_the_drain(daemon: &Daemon) -> Option<(Stall<'_>, Vec<Peer>)> {
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    let peers: Vec<Peer> = (0..100).map(|_| Peer::connect(daemon.address())).collect();
    scrape_until(daemon.metrics_address(), "all are served", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 101
    });
    daemon.signal(Signal::TERM);
    assert_eq!(served.rest(), "", "the drain has begun");
    let stall = Stall::stop(daemon);
    (!peers.iter().any(Peer::has_ended)).then_some((stall, peers))
}

/// The drain waits for first requests until `deadline` at most, which passes during the stall.
fn ask_during_a_stall_of_the_drain(drain_timeout: &str, deadline: Duration) {
    for _ in 0..20 {
        let mut daemon = start(&["--drain-timeout", drain_timeout, "--max-connections", "101"]);
        // Nothing has been tested yet if it is `None`.
        let Some((stall, mut peers)) = stall_in_the_drain(&daemon) else { continue };
        for peer in &mut peers {
            peer.send("7\n8\n".repeat(500));
        }
        stall.outlast(deadline);
        drop(stall);
        for peer in &mut peers {
            assert_eq!(peer.rest(), "ÍMPAR\nPAR\n".repeat(500));
        }
        assert_eq!(daemon.wait().code(), Some(0));
        assert_eq!(daemon.wait_for("stopped")["forced"], 0);
        return;
    }
    panic!("the machine is too busy");
}

#[test]
fn a_first_request_that_arrives_during_a_stall_of_the_drain_is_answered() {
    // A first request is waited for at most a second.
    ask_during_a_stall_of_the_drain("15s", Duration::from_secs(1));
}

#[test]
fn what_arrived_during_a_stall_longer_than_the_drain_is_answered() {
    ask_during_a_stall_of_the_drain("1s", Duration::from_secs(1));
}
