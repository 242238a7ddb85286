//! `--count`: what is printed, and the exit status.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use support::{CLIENTE, UNDISTURBED, held, honest, next, serve};
use testkit::{Signal, request, send_signal, wait_for_exit};

fn cliente(arguments: &[&str]) -> Command {
    let mut command = Command::new(CLIENTE);
    command.args(arguments).env_clear().envs([UNDISTURBED]).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Output, String) {
    let output = cliente(arguments).output().expect("it starts");
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    (output, text)
}

/// The words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn right_rounds_are_told_and_summed_up() {
    let target = honest().to_string();
    let (output, text) = run(&["--target", &target, "--interval", "10ms", "--count", "3"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "a limited run logs only warnings: {output:?}");
    let lines = words(&text);
    assert!(lines.len() >= 10, "{text}");
    assert_eq!(lines[0].join(" "), "# number class connect round trip target");
    for (line, round) in lines[1..4].iter().zip(["1", "2", "3"]) {
        let [number, digits, class, _, connect_unit, _, round_trip_unit, server] = line[..] else {
            panic!("{line:?}");
        };
        assert_eq!((number, server), (round, target.as_str()));
        assert!(digits.bytes().all(|digit| digit.is_ascii_digit()), "{digits}");
        assert!(["large", "even", "odd"].contains(&class), "{class}");
        assert!(
            [connect_unit, round_trip_unit].iter().all(|unit| ["µs", "ms", "s"].contains(unit)),
            "{line:?}"
        );
    }
    assert_eq!(lines[5], ["---", &target, "---"]);
    assert!(text.contains("\n3 rounds, 3 right, 0 failed, 0.0 % loss\n"), "{text}");
    assert_eq!(lines[7].join(" "), "min mean p50 p90 p99 max");
    assert_eq!((lines[8][0], lines[8].len()), ("connect", 13), "{text}");
    assert_eq!((lines[9][..2].join(" "), lines[9].len()), ("round trip".to_owned(), 14), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_kept_connection_is_told_as_kept() {
    let target = honest().to_string();
    let arguments = ["--target", &target, "--interval", "10ms", "--count", "3", "--connection", "kept"];
    let (output, text) = run(&arguments);
    assert_eq!(output.status.code(), Some(0));
    let kept: Vec<bool> = words(&text)[1..4].iter().map(|line| line[3] == "kept").collect();
    assert_eq!(kept, [false, true, true], "{text}");
}

#[test]
fn one_failed_round_fails_the_run() {
    let mut rounds = 0;
    let target = serve(move |mut asked| {
        rounds += 1;
        let reply = if rounds == 2 { b"ERRO ocupado: mais tarde\n".to_vec() } else { asked.right() };
        asked.say(&reply);
    });
    let target = target.to_string();
    let (output, text) = run(&["--target", &target, "--interval", "10ms", "--count", "4"]);
    assert_eq!(output.status.code(), Some(1));
    let line = &words(&text)[2];
    assert_eq!((line[0], line[2], line.last()), ("2", "server_error", Some(&target.as_str())));
    assert!(text.contains("\n4 rounds, 3 right, 1 failed (1 server_error), 25.0 % loss\n"), "{text}");
    assert!(output.stderr.is_empty(), "its line is that of the report: {output:?}");
}

#[test]
fn a_failed_round_is_logged_if_a_flag_asks_for_it() {
    let target = serve(drop).to_string();
    let (output, _) = run(&["--target", &target, "--count", "1", "--log-level", "warn"]);
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(log.matches("\"message\":\"round failed\"").count(), 1, "{log}");
}

#[test]
fn several_targets_have_one_table() {
    let (right, closing) = (honest().to_string(), serve(drop).to_string());
    let (output, text) = run(&[&right, &closing, "--interval", "10ms", "--count", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let (_, table) = text.split_once("\n--- 2 targets ---\n").expect(&text);
    let rows = words(table);
    assert_eq!(rows[1].join(" "), "rounds right failed loss p50 p50 p99 max target");
    assert_eq!((&rows[2][..4], rows[2].last()), (&["2", "2", "0", "0.0"][..], Some(&right.as_str())));
    assert_eq!(&rows[3][..5], ["2", "0", "2", "100.0", "%"]);
    assert!(rows[3].join(" ").ends_with(&format!("- - - - {closing} (2 closed)")), "{table}");
    assert_eq!(rows[4].join(" "), "4 rounds, 2 right, 2 failed (2 closed), 50.0 % loss");
}

#[test]
fn only_the_summary_is_printed_on_request() {
    let target = honest().to_string();
    let (output, text) = run(&[&target, "-q", "--count", "2", "--interval", "10ms"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with(&format!("--- {target} ---\n2 rounds, 2 right")), "{text}");
}

#[test]
fn json_has_an_object_a_line() {
    let target = honest().to_string();
    let (output, text) = run(&[&target, "--json", "--count", "2", "--interval", "10ms"]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["round", "round", "summary"], "{text}");
    assert!(lines[0]["round_trip_us"].is_u64() && lines[0]["reason"].is_null(), "{text}");
    assert_eq!(
        (&lines[2]["right"], &lines[2]["targets"][0]["target"]),
        (&2.into(), &target.into()),
        "{text}"
    );
}

/// A run whose first round is over, and what it prints from then on.
fn started(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut process =
        cliente(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
    for _heading_and_round in 0..2 {
        output.read_line(&mut String::new()).expect("a line");
    }
    (process, output)
}

#[test]
fn a_signal_ends_it_with_the_summary() {
    for signal in [Signal::INT, Signal::TERM] {
        let target = honest().to_string();
        let (mut process, mut output) = started(&["--target", &target, "--interval", "1h", "--count", "5"]);
        send_signal(&process, signal);
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("UTF-8");
        assert!(rest.contains("\n1 round, 1 right, 0 failed, 0.0 % loss\n"), "{rest}");
        assert_eq!(wait_for_exit(&mut process).code(), Some(0));
    }
}

#[test]
fn skipped_ticks_are_no_rounds() {
    let (target, requests) = held();
    let target = target.to_string();
    let process = cliente(&["--target", &target, "--interval", "20ms", "--count", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = next(&requests);
    testkit::wait_until("five ticks fall due", {
        let begun = std::time::Instant::now();
        move || begun.elapsed() > std::time::Duration::from_millis(120)
    });
    let reply = first.right();
    first.say(&reply);
    first.wait_for_fin();
    drop(first);
    let mut second = next(&requests);
    let reply = second.right();
    second.say(&reply);
    second.wait_for_fin();
    drop(second);
    let output = process.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("\n2 rounds, 2 right, 0 failed, 0.0 % loss\n"), "{text}");
    let why = " ticks skipped: rounds took longer than the interval of 20ms";
    let skipped = text.lines().find_map(|line| line.strip_suffix(why)).expect(&text);
    assert!(skipped.parse::<u64>().expect(skipped) >= 5, "{text}");
}

#[test]
fn a_round_that_a_signal_cuts_short_is_no_success() {
    let (target, requests) = held();
    let target = target.to_string();
    let process = cliente(&[&target, "--count", "2", "--drain-timeout", "1ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let _unanswered = next(&requests);
    send_signal(&process, Signal::INT);
    let output = process.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("\n1 round, 0 right, 0 failed, loss unknown, 1 cut short\n"), "{text}");
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let target = honest().to_string();
    let arguments = ["--target", &target, "--interval", "1h", "--count", "2", "--log-level", "info"];
    let mut quiet =
        cliente(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut log = BufReader::new(quiet.stderr.take().expect("it is piped"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    assert!(line.contains("\"message\":\"round completed\""), "nothing is said of metrics before: {line}");
    send_signal(&quiet, Signal::TERM);
    assert_eq!(wait_for_exit(&mut quiet).code(), Some(0));

    let daemon = support::daemon(&arguments);
    assert_eq!(request(daemon.metrics_address(), "GET", "/metrics").status, 200);
}

#[test]
fn a_report_that_cannot_be_printed_fails_the_run() {
    let target = honest().to_string();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut process = cliente(&["--target", &target, "--count", "1"]);
    let output = process.stdout(full).stderr(Stdio::piped()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(log.contains("cannot write to standard output: No space left on device"), "{log}");
}
