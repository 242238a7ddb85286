//! The metrics and log lines of scripted rounds, to the last digit.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{REASONS, held, honest, next, wait_for_rounds};
use testkit::{DEADLINE, assert_promtool_is_silent, scrape, wait_until};

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
    assert_eq!(metrics.count("cliente_schedule_delay_seconds_count", &[]), 1, "one has begun");
    for name in [
        "cliente_connections_total",
        "cliente_rounds_skipped_total",
        "cliente_resolve_seconds_count",
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
    assert_eq!(buckets.count(), 19, "18 and infinity: {}", metrics.text);
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
        ("cliente_connections_total", 1),
        ("cliente_resolve_seconds_count", 0),
        ("cliente_connect_seconds_count", 1),
        ("cliente_round_trip_seconds_count", 7),
        ("cliente_up", 1),
    ] {
        assert_eq!(metrics.count(name, &server), value, "{name}");
    }
    assert_eq!(metrics.count("cliente_schedule_delay_seconds_count", &[]), 8);
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
    for detail in ["full", "compact"] {
        let (target, requests) = held();
        let arguments = ["--target", &target.to_string(), "--interval", "1h", "--detail", detail];
        let daemon = support::daemon(&arguments);
        let _unanswered = next(&requests);
        assert_promtool_is_silent(&scrape(daemon.metrics_address()));
    }
}

#[test]
fn metrics_come_compressed_for_those_who_ask_for_gzip() {
    let (target, requests) = held();
    let daemon = support::daemon(&["--target", &target.to_string(), "--interval", "1h"]);
    let _unanswered = next(&requests);
    let address = daemon.metrics_address();
    let ask = |more: &str| {
        let mut stream = TcpStream::connect(address).expect("the HTTP side accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("above zero");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").expect("a request");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a response, then the end");
        let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        let body = response.split_off(end);
        (String::from_utf8(response).expect("text").to_ascii_lowercase(), body)
    };
    let (head, plain) = ask("");
    assert!(head.contains("\r\nvary: accept-encoding\r\n") && !head.contains("content-encoding"), "{head}");
    let (head, compressed) = ask("Accept-Encoding: deflate, gzip;q=0.8\r\n");
    assert!(head.contains("\r\nvary: accept-encoding\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-encoding: gzip\r\n"), "{head}");
    assert!(compressed.len() * 3 < plain.len(), "{} of {}", compressed.len(), plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut text).expect("gzip");
    let series = format!("cliente_rounds_total{{server=\"{target}\"}} 1\n");
    assert!(text.contains(&series) && String::from_utf8_lossy(&plain).contains(&series), "{text}");
}

#[test]
fn buckets_have_the_bounds_that_were_set() {
    let target = honest().to_string();
    let arguments = ["--target", &target, "--interval", "1h", "--buckets", "1us,1h"];
    let daemon = support::daemon(&arguments);
    wait_for_rounds(&daemon, 1);
    let metrics = scrape(daemon.metrics_address());
    for (bound, count) in [("0.000001", 0), ("3600", 1), ("+Inf", 1)] {
        let labels = [("server", target.as_str()), ("le", bound)];
        assert_eq!(metrics.count("cliente_round_trip_seconds_bucket", &labels), count, "{bound}");
    }
    assert_eq!(metrics.text.matches("cliente_round_trip_seconds_bucket{").count(), 3);
}

#[test]
fn in_compact_no_histogram_bears_the_name_of_a_target() {
    let target = honest().to_string();
    let arguments = ["--target", &target, "--interval", "1h", "--detail", "compact"];
    let daemon = support::daemon(&arguments);
    wait_for_rounds(&daemon, 1);
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("cliente_round_trip_seconds_count", &[("server", &target)]), 1);
    assert_eq!(metrics.count("cliente_group_round_trip_seconds_bucket", &[("le", "+Inf")]), 1);
    let of_target = metrics.text.lines().filter(|line| line.contains(&format!("server=\"{target}\"")));
    assert!(of_target.clone().all(|line| !line.contains("_bucket")), "{}", metrics.text);
    assert!(of_target.count() <= 28, "{}", metrics.text);
}

#[test]
fn more_lines_than_the_budget_allows_are_counted_and_summed_up() {
    let target = honest().to_string();
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
