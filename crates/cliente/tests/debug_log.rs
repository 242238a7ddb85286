//! The log at level `debug`: each step of a round.

mod support;

use serde_json::Value;
use support::{held, next};
use testkit::{Daemon, Signal};

const STEPS: [&str; 5] =
    ["name resolved", "connection opened", "request sent", "reply received", "round completed"];

fn steps(daemon: &Daemon) -> Vec<Value> {
    let mut lines = daemon.lines();
    lines.retain(|line| STEPS.iter().any(|step| line["message"] == *step));
    lines
}

#[test]
fn each_step_of_a_round_is_logged_at_level_debug() {
    let (address, requests) = held();
    let target = format!("localhost:{}", address.port());
    let arguments = ["--target", &target, "--interval", "1h", "--log-level", "debug"];
    let mut daemon = support::daemon(&arguments);
    let mut asked = next(&requests);
    let (number, reply) = (asked.number(), asked.right());
    asked.say(&reply);
    daemon.wait_for("round completed");
    daemon.signal(Signal::TERM);
    daemon.wait();

    let lines = steps(&daemon);
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, STEPS);
    let [resolved, connected, sent, received, _] = lines.as_slice() else { panic!("five lines: {lines:?}") };
    for line in &lines[..4] {
        assert_eq!((&line["level"], &line["server"]), (&"DEBUG".into(), &target.as_str().into()), "{line}");
    }
    assert!(resolved["addresses"].to_string().contains(&address.to_string()), "{resolved}");
    assert_eq!(connected["address"], address.to_string());
    assert_eq!(sent["bytes"], number.len() + 1);
    assert_eq!(received["bytes"], reply.len());
}

#[test]
fn a_round_that_fails_shows_how_far_it_came() {
    let (address, requests) = held();
    let target = address.to_string();
    let arguments =
        ["--target", &target, "--interval", "1h", "--log-level", "debug", "--reply-timeout", "200ms"];
    let daemon = support::daemon(&arguments);
    let mut asked = next(&requests);
    let reply = asked.right();
    asked.say(&reply[..1]);
    assert_eq!(daemon.wait_for("round failed")["reason"], "reply_timeout");
    assert_eq!(daemon.wait_for("request sent")["bytes"], asked.number().len() + 1);
    assert_eq!(daemon.wait_for("reply received")["bytes"], 1);
}

#[test]
fn steps_are_not_logged_at_the_usual_level() {
    let (address, requests) = held();
    let daemon = support::daemon(&["--target", &address.to_string(), "--interval", "1h"]);
    let mut asked = next(&requests);
    let reply = asked.right();
    asked.say(&reply);
    daemon.wait_for("round completed");
    assert_eq!(steps(&daemon).len(), 1);
}
