//! The metrics and log lines of scripted rounds, to the last digit.

mod support;

use support::{REASONS, held, next};
use testkit::{assert_promtool_is_silent, scrape, wait_until};

const CLASSES: [&str; 3] = ["large", "even", "odd"];

#[test]
fn every_series_is_there_before_its_first_event() {
    let (target, requests) = held();
    let target = target.to_string();
    let daemon = support::daemon(&["--target", &target, "--interval", "1h"]);
    let _unanswered = next(&requests);
    let metrics = scrape(daemon.metrics_address());
    let server = [("server", target.as_str())];
    assert_eq!(metrics.count("cliente_rounds_total", &server), 1, "one has begun");
    assert_eq!(metrics.count("cliente_schedule_delay_seconds_count", &server), 1, "one has begun");
    for name in [
        "cliente_connections_total",
        "cliente_rounds_skipped_total",
        "cliente_connect_seconds_count",
        "cliente_round_trip_seconds_count",
        "cliente_up",
        "cliente_last_success_timestamp_seconds",
    ] {
        assert_eq!(metrics.count(name, &server), 0, "{name}");
    }
    for class in CLASSES {
        let labels = [("server", target.as_str()), ("class", class)];
        assert_eq!(metrics.count("cliente_numbers_total", &labels), 0, "{class}");
    }
    for reason in REASONS {
        let labels = [("server", target.as_str()), ("reason", reason)];
        assert_eq!(metrics.count("cliente_round_failures_total", &labels), 0, "{reason}");
    }
    for (name, value) in [
        ("cliente_config_last_reload_successful", 1),
        ("cliente_log_events_suppressed_total", 0),
        ("cliente_log_lines_dropped_total", 0),
    ] {
        assert_eq!(metrics.count(name, &[]), value, "{name}");
    }
    let buckets = metrics.text.lines().filter(|line| line.starts_with("cliente_round_trip_seconds_bucket"));
    assert_eq!(buckets.count(), 21, "20 and infinity: {}", metrics.text);
}

#[test]
fn scripted_rounds_are_counted_exactly() {
    let (target, requests) = held();
    let target = target.to_string();
    let daemon = support::daemon(&["--target", &target, "--interval", "20ms", "--connection", "kept"]);
    let mut numbers = Vec::new();
    let mut asked = next(&requests);
    for _ in 0..7 {
        numbers.push(asked.number());
        let reply = asked.right();
        asked.say(&reply);
        asked = asked.next().expect("the connection is kept");
    }
    // The seventh round is over, the eighth is not.
    let metrics = scrape(daemon.metrics_address());
    let server = [("server", target.as_str())];
    for (name, value) in [
        ("cliente_rounds_total", 8),
        ("cliente_schedule_delay_seconds_count", 8),
        ("cliente_connections_total", 1),
        ("cliente_connect_seconds_count", 1),
        ("cliente_round_trip_seconds_count", 7),
        ("cliente_up", 1),
    ] {
        assert_eq!(metrics.count(name, &server), value, "{name}");
    }
    assert!(metrics.value("cliente_last_success_timestamp_seconds", &server) > 1.7e9);

    drop(asked);
    assert_eq!(daemon.wait_for("round failed")["reason"], "closed");
    let failed = scrape(daemon.metrics_address());
    let closed = [("server", target.as_str()), ("reason", "closed")];
    assert_eq!(failed.count("cliente_round_failures_total", &closed), 1);
    assert_eq!(failed.count("cliente_up", &server), 0, "the last round was not right");

    wait_until("all are logged", || daemon.lines_with("round completed").len() == 7);
    let lines = daemon.lines_with("round completed");
    for class in CLASSES {
        let logged = lines.iter().filter(|line| line["class"] == class).count() as u64;
        let labels = [("server", target.as_str()), ("class", class)];
        assert_eq!(metrics.count("cliente_numbers_total", &labels), logged, "{class}");
    }
    for (round, (line, number)) in lines.iter().zip(&numbers).enumerate() {
        assert_eq!((&line["server"], &line["number"]), (&target.as_str().into(), &number.as_str().into()));
        assert_eq!(line["digits"], number.len(), "{line}");
        let reply = match line["class"].as_str() {
            Some("large") => number.as_str(),
            Some("even") => "PAR",
            Some("odd") => "ÍMPAR",
            _ => panic!("no class in {line}"),
        };
        assert_eq!(line["reply"], reply, "{line}");
        assert!(line["round_trip_us"].is_u64(), "{line}");
        assert_eq!(line["connect_us"].is_u64(), round == 0, "only the first round connects: {line}");
        assert!(round == 0 || line.get("connect_us").is_none(), "{line}");
    }
}

#[test]
fn promtool_finds_nothing() {
    let (target, requests) = held();
    let daemon = support::daemon(&["--target", &target.to_string(), "--interval", "1h"]);
    let _unanswered = next(&requests);
    assert_promtool_is_silent(&scrape(daemon.metrics_address()));
}

#[test]
fn more_lines_than_the_budget_allows_are_counted_and_summed_up() {
    let target = support::honest().to_string();
    let arguments = ["--target", &target, "--interval", "5ms", "--log-events-per-second", "2"];
    let daemon = support::daemon(&arguments);
    let summary = daemon.wait_for("events suppressed");
    assert_eq!(summary["event"], "round completed");
    let count = summary["count"].as_u64().expect("a count");
    let metrics = daemon.metrics_address();
    wait_until("what the line sums up is counted", || {
        scrape(metrics).count("cliente_log_events_suppressed_total", &[]) >= count
    });
}
