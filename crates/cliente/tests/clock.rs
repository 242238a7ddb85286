//! The wall clock is set while the client runs: only what says what time it is may move.

mod support;

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use support::{CLIENTE, UNDISTURBED, held, honest, next};
use testkit::{
    Daemon, ServiceManager, Signal, WallClock, logged_seconds_from_now, request, scrape, scrape_until,
    seconds_from_now, wait_until,
};

const DAY: i64 = 86_400;
/// Forward, back, and back by far.
const SHIFTS: [i64; 3] = [DAY, -DAY, -50 * 365 * DAY];
/// Far less than a step, and far more than a test takes.
const HOUR: f64 = 3600.0;
/// Rounds a second, at the interval under test.
const RATE: u64 = 50;

#[expect(clippy::cast_precision_loss, reason = "a few years")]
fn float(seconds: i64) -> f64 {
    seconds as f64
}

#[test]
fn a_step_of_the_wall_clock_moves_the_times_of_log_lines_and_nothing_else() {
    let Some(clock) = WallClock::new() else { return };
    let manager = ServiceManager::new();
    let mut variables = clock.variables();
    variables.extend([("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "200000"), UNDISTURBED]);
    let target = honest().to_string();
    let server = [("server", target.as_str())];
    let begun = Instant::now();
    let daemon = Daemon::start_with(CLIENTE, &["--target", &target, "--interval", "20ms"], &variables);
    let metrics = daemon.metrics_address();
    scrape_until(metrics, "rounds go right", |metrics| metrics.sum("cliente_numbers_total", &server) > 10);

    for (step, shift) in SHIFTS.into_iter().enumerate() {
        clock.set(shift);
        let before = scrape(metrics).count("cliente_rounds_total", &server);
        let scraped = scrape_until(metrics, "rounds go on", |metrics| {
            metrics.count("cliente_rounds_total", &server) > before + 20
        });
        manager.empty();
        wait_until("the watchdog is fed", || manager.next_message() == "WATCHDOG=1");

        daemon.signal(Signal::USR1);
        wait_until("it reports", || daemon.lines_with("state").len() == step + 1);
        let state = daemon.lines_with("state").pop().expect("it was waited for");
        let shift = float(shift);
        assert!((logged_seconds_from_now(&state) - shift).abs() < HOUR, "the clock is set: {state}");
        assert!(state["uptime_s"].as_u64().expect("a number") <= begun.elapsed().as_secs() + 1, "{state}");

        let rounds = scraped.count("cliente_rounds_total", &server);
        let due = (begun.elapsed().as_secs() + 1) * RATE;
        assert!(rounds <= due, "{rounds} rounds, and {due} were due");
        assert!(scraped.count("cliente_rounds_skipped_total", &server) <= due, "as if a day had passed");
        for histogram in ["round_trip", "connect", "schedule_delay", "control_round_trip"] {
            let labels: &[_] =
                if histogram.ends_with("delay") || histogram.starts_with("control") { &[] } else { &server };
            let sum = scraped.value(&format!("cliente_{histogram}_seconds_sum"), labels);
            assert!((0.0..HOUR).contains(&sum), "{histogram}: {sum}");
        }
        for (name, labels) in [
            ("process_start_time_seconds", &[][..]),
            ("cliente_config_last_reload_success_timestamp_seconds", &[]),
            ("cliente_last_success_timestamp_seconds", &server),
        ] {
            let age = shift - seconds_from_now(scraped.value(name, labels));
            assert!((-1.0..HOUR).contains(&age), "{name} is {age} s ago, by a clock that is {shift} s off");
        }
        let page = request(metrics, "GET", "/").body;
        let (_, age) = page.split_once("right for ").expect("the state of the target");
        assert!(age.split_once('<').is_some_and(|(age, _)| age.ends_with(" s")), "{age}");
    }
    for wrong in ["round failed", "round disturbed", "panic"] {
        assert_eq!(daemon.lines_with(wrong), [] as [Value; 0]);
    }
}

#[test]
fn a_target_that_has_failed_since_before_a_step_has_the_right_age_and_time() {
    let Some(clock) = WallClock::new() else { return };
    let (address, asked) = held();
    let mut variables = clock.variables();
    variables.push(UNDISTURBED);
    let daemon =
        Daemon::start_with(CLIENTE, &["--target", &address.to_string(), "--interval", "20ms"], &variables);
    let mut first = next(&asked);
    let reply = first.right();
    first.say(&reply);
    next(&asked).say(b"ERRO\n");
    daemon.wait_for("round failed");
    for shift in SHIFTS {
        clock.set(shift);
        let page = request(daemon.metrics_address(), "GET", "/").body;
        let (_, words) = page.split_once("failing for ").expect("the state of the target");
        let (age, words) = words.split_once(": ").expect("a reason");
        assert!(age.ends_with(" s"), "failing for {age}");
        let (_, time) = words.split_once("last right <time datetime=\"").expect("a time");
        let (time, _) = time.split_once('"').expect("an attribute");
        let time = serde_json::json!({ "timestamp": time });
        let age = float(shift) - logged_seconds_from_now(&time);
        assert!((-1.0..HOUR).contains(&age), "last right {age} s ago");
    }
}

#[test]
fn a_step_during_a_round_is_no_timeout_and_not_in_its_time() {
    let Some(clock) = WallClock::new() else { return };
    for shift in SHIFTS {
        clock.set(0);
        let (address, asked) = held();
        let target = address.to_string();
        let mut count = Command::new(CLIENTE);
        count.args(["--target", &target, "--count", "1", "--json", "--reply-timeout", "1h"]).env_clear();
        count.envs(clock.variables()).envs([UNDISTURBED]).stdin(Stdio::null()).stdout(Stdio::piped());
        let count = count.spawn().expect("it starts");
        let mut asked = next(&asked);
        clock.set(shift);
        let reply = asked.right();
        asked.say(&reply);
        let output = count.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let (round, summary) = (lines.next().expect("a round"), lines.next().expect("a summary"));
        assert_eq!((&round["result"], &summary["right"]), (&"right".into(), &1.into()), "{text}");
        for time in ["connect_us", "round_trip_us", "elapsed_us"] {
            assert!(round[time].as_u64().is_some_and(|time| time < 3_600_000_000), "{round}");
        }
        let ended = serde_json::json!({ "timestamp": round["ended"] });
        assert!((logged_seconds_from_now(&ended) - float(shift)).abs() < HOUR, "{round}");
    }
}
