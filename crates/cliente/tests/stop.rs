//! Stops: a round under way is finished, in bounds, and nobody is told otherwise.

mod support;

use support::{held, honest, next};
use testkit::{Daemon, Signal, request, scrape, wait_until};

/// A daemon whose next round will not begin within a test.
fn start(target: std::net::SocketAddr, arguments: &[&str]) -> Daemon {
    let target = target.to_string();
    support::daemon(&[&["--target", &target, "--interval", "1h"], arguments].concat())
}

#[test]
fn a_round_under_way_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let (target, requests) = held();
        let mut daemon = start(target, &[]);
        let metrics = daemon.metrics_address();
        let mut asked = next(&requests);
        wait_until("the first round makes it ready", || request(metrics, "GET", "/-/ready").status == 200);

        daemon.signal(signal);
        assert_eq!(daemon.wait_for("draining")["rounds"], 1);
        assert_eq!(request(metrics, "GET", "/-/ready").status, 503);
        assert_eq!(scrape(metrics).count("cliente_rounds_total", &[("server", &target.to_string())]), 1);

        let reply = asked.right();
        asked.say(&reply);
        asked.wait_for_fin();
        drop(asked);
        assert_eq!(daemon.wait().code(), Some(0));
        assert_eq!(daemon.lines_with("round completed").len(), 1);
        let stopped = daemon.wait_for("stopped");
        for (field, value) in [("forced", 0), ("rounds", 1), ("right", 1), ("failed", 0), ("skipped", 0)] {
            assert_eq!(stopped[field], value, "{field} in {stopped}");
        }
    }
}

#[test]
fn between_two_rounds_nothing_is_waited_for() {
    let mut daemon = start(honest(), &["--drain-timeout", "1h"]);
    daemon.wait_for("round completed");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.wait_for("draining")["rounds"], 0);
}

#[test]
fn a_round_that_takes_too_long_is_cut_short() {
    let (target, requests) = held();
    let mut daemon = start(target, &["--reply-timeout", "1h", "--drain-timeout", "100ms"]);
    let _unanswered = next(&requests);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
    let stopped = daemon.wait_for("stopped");
    assert_eq!((&stopped["forced"], &stopped["rounds"]), (&1.into(), &1.into()), "{stopped}");
    assert_eq!((&stopped["right"], &stopped["failed"]), (&0.into(), &0.into()), "{stopped}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, status) in
        [(Signal::TERM, Signal::TERM, 143), (Signal::INT, Signal::INT, 130), (Signal::TERM, Signal::INT, 130)]
    {
        let (target, requests) = held();
        let mut daemon = start(target, &["--reply-timeout", "1h", "--drain-timeout", "1h"]);
        let _unanswered = next(&requests);
        daemon.signal(first);
        daemon.wait_for("draining");
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(status));
    }
}

#[test]
fn the_state_is_logged_on_request() {
    let daemon = start(honest(), &[]);
    daemon.wait_for("round completed");
    daemon.signal(Signal::USR1);
    let state = daemon.wait_for("state");
    for (field, value) in [("rounds", 1), ("right", 1), ("failed", 0), ("skipped", 0), ("under_way", 0)] {
        assert_eq!(state[field], value, "{field} in {state}");
    }
    assert!(state["uptime_s"].is_u64());
}
