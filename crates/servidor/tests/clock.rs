//! The wall clock is set while the server runs: only what says what time it is may move.

mod common;

use std::time::Instant;

use common::start_with;
use testkit::{
    Peer, ServiceManager, Signal, WallClock, logged_seconds_from_now, request, scrape, seconds_from_now,
    wait_until,
};

const DAY: i64 = 86_400;
/// Far less than a step, and far more than a test takes.
const HOUR: f64 = 3600.0;

#[test]
fn a_step_of_the_wall_clock_moves_the_times_of_log_lines_and_nothing_else() {
    let Some(clock) = WallClock::new() else { return };
    let manager = ServiceManager::new();
    let mut variables = clock.variables();
    variables.extend([("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "200000")]);
    let daemon = start_with(&["--idle-timeout", "60s", "--unterminated-wait", "100ms"], &variables);
    let (address, metrics) = (daemon.address(), daemon.metrics_address());
    let begun = Instant::now();
    let mut patient = Peer::connect(address);
    assert_eq!(patient.ask("2\n"), "PAR\n");

    for (step, shift) in [DAY, -DAY, -50 * 365 * DAY].into_iter().enumerate() {
        clock.set(shift);
        let mut original = Peer::connect(address);
        original.send("7");
        assert_eq!(original.rest(), "ÍMPAR", "a deadline passes");
        assert_eq!(patient.ask("2\n"), "PAR\n", "another one does not");
        manager.empty();
        wait_until("the watchdog is fed", || manager.next_message() == "WATCHDOG=1");

        daemon.signal(Signal::USR1);
        wait_until("it reports", || daemon.lines_with("state").len() == step + 1);
        let state = daemon.lines_with("state").pop().expect("it was waited for");
        #[expect(clippy::cast_precision_loss, reason = "a few years")]
        let shift = shift as f64;
        assert!((logged_seconds_from_now(&state) - shift).abs() < HOUR, "the clock is set: {state}");
        assert!(state["uptime_s"].as_u64().expect("a number") <= begun.elapsed().as_secs() + 1, "{state}");
        for line in daemon.lines_with("connection closed") {
            assert!(
                u128::from(line["duration_ms"].as_u64().expect("a number")) <= begun.elapsed().as_millis()
            );
        }

        let scraped = scrape(metrics);
        assert!(scraped.value("servidor_service_seconds_sum", &[]) < begun.elapsed().as_secs_f64());
        assert!(scraped.value("process_cpu_seconds_total", &[]) < HOUR);
        for name in ["process_start_time_seconds", "servidor_config_last_reload_success_timestamp_seconds"] {
            let age = shift - seconds_from_now(scraped.value(name, &[]));
            assert!((-1.0..HOUR).contains(&age), "{name} is {age} s ago, by a clock that is {shift} s off");
        }
        let page = request(metrics, "GET", "/");
        let (_, uptime) = page.body.split_once(", up for ").expect("an uptime");
        assert!(uptime.split_once("</p>").is_some_and(|(uptime, _)| uptime.ends_with('s')), "{uptime}");
    }
    assert_eq!(daemon.lines_with("panic").len(), 0);
}

#[test]
fn an_idle_connection_is_closed_in_time_though_the_wall_clock_was_set_back() {
    let Some(clock) = WallClock::new() else { return };
    let daemon = start_with(&["--idle-timeout", "1s"], &clock.variables());
    let mut peer = Peer::connect(daemon.address());
    clock.set(-DAY);
    assert_eq!(peer.rest(), "");
    assert_eq!(daemon.wait_for("connection closed")["reason"], "idle");
}
