//! What `cliente bench` prints, writes and exits with.

mod support;

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use support::{CLIENTE, serve};
use testkit::{Signal, send_signal, wait_for_exit, wait_until};

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(CLIENTE);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Runs it to its end; it is bounded in time by itself.
fn bench(target: &str, arguments: &[&str]) -> Output {
    bench_with(target, &[&["--warmup", "0s"], arguments].concat())
}

fn bench_with(target: &str, arguments: &[&str]) -> Output {
    let always = ["bench", "--target", target, "--duration", "200ms"];
    start(&[&always, arguments].concat()).wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

fn servidor() -> String {
    support::servidor::serve("127.0.0.1", &["--max-connections", "100"]).0.to_string()
}

#[test]
fn the_report_fits_in_80_columns_and_nothing_else_is_printed() {
    let target = servidor();
    for arguments in [&["--connections", "3"][..], &["--connection", "fresh", "--rate", "100"][..]] {
        let output = bench(&target, arguments);
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(text(&output.stderr), "", "progress is for terminals");
        assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
        for part in ["p50", "p90", "p99", "p99.9", "p99.99", "max", " 0 wrong", "a second", "█", "busy"] {
            assert!(report.contains(part), "{part}:\n{report}");
        }
    }
}

#[test]
fn json_tells_the_same() {
    let output = bench(&servidor(), &["--json", "--connections", "2", "--pipeline", "4"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!((&report["connections"], &report["pipeline"]), (&2.into(), &4.into()));
    assert_eq!((&report["wrong"], &report["failures"]["refused"]), (&0.into(), &0.into()));
    assert_eq!(report["right"], report["measured_requests"]);
    assert_eq!(report["connections_made"], 2);
    assert_eq!(report["all_right"], true);
    let latency = |name: &str| report["latency_ns"][name].as_u64().expect(name);
    let rising = ["min", "p50", "p90", "p99", "p99.9", "p99.99", "max"].map(latency);
    assert!(rising.is_sorted() && rising[0] > 0, "{rising:?}");
    assert!(report["requests_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert!(report["generator"]["threads"][0]["cpu_share"].as_f64().is_some_and(|share| share > 0.0));
}

#[test]
fn the_distribution_is_a_table_for_plotters() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("latency.hgrm");
    let path = path.to_str().expect("UTF-8");
    let output = bench(&servidor(), &["--json", "--hdr", path]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    let text = fs::read_to_string(path).expect("it is written");

    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
    let (lines, notes): (Vec<&str>, Vec<&str>) =
        text.lines().skip(2).partition(|line| !line.starts_with('#'));
    let rows: Vec<Vec<f64>> = lines
        .iter()
        .map(|line| line.split_whitespace().map(|column| column.parse().expect("a number")).collect())
        .collect();
    assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
    let (last, others) = rows.split_last().expect("rows");
    assert!(
        others.iter().all(|row| row.len() == 4 && (row[3] - 1.0 / (1.0 - row[1])).abs() <= 0.01 * row[3])
    );
    assert_eq!(last.len(), 3, "there is no 1/(1-1)");
    assert_eq!((last[1], Some(last[2])), (1.0, report["measured_requests"].as_f64()));
    let max = report["latency_ns"]["max"].as_f64().expect("a number");
    assert!((last[0] * 1e6 - max).abs() < 1.0, "milliseconds: {} and {max}", last[0]);

    let begins = ["#[Mean    = ", "#[Max     = ", "#[Buckets = "];
    assert_eq!(notes.len(), begins.len());
    assert!(
        notes.iter().zip(begins).all(|(note, begin)| note.starts_with(begin) && note.ends_with(']')),
        "{text}"
    );
}

#[test]
fn a_wrong_reply_fails_the_run() {
    let address = serve(|asked| {
        let mut next = Some(asked);
        while let Some(mut asked) = next {
            if !asked.try_say(b"nada\n") {
                return;
            }
            next = asked.next();
        }
    });
    // The first connection only asks whether someone is there.
    let output = bench(&address.to_string(), &["--connections", "1"]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("replies     0 right, "), "{report}");
    assert!(report.contains(" wrong_reply\n"), "{report}");
    assert_eq!(report.matches("first wrong reply: \"nada\" to ").count(), 1, "{report}");
    assert!(report.contains("throughput  none: no right reply was measured\n"), "{report}");
    assert!(!report.contains("0.00 µs") && !report.contains("latency"), "{report}");
}

#[test]
fn a_server_that_is_not_there_fails_the_run_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let output = bench(&target, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let complaint = format!("cliente: {target}: no connection to {target}: ");
    assert!(text(&output.stderr).starts_with(&complaint), "{}", text(&output.stderr));
}

#[test]
fn flags_that_cannot_be_are_refused() {
    for (arguments, complaint) in [
        (&["--connections", "0"][..], "--connections"),
        (&["--pipeline", "1025"], "--pipeline"),
        (&["--rate", "0"], "--rate"),
        (&["--duration", "0s"], "--duration"),
        (&["--connections", "1", "--threads", "2"], "expected at least one for each of 2 threads"),
        (&["--connection", "fresh", "--rate", "10001"], "expected at most 10000 with --connection fresh"),
    ] {
        let output = start(&[&["bench"], arguments].concat()).wait_with_output().expect("it ends");
        let complaints = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(complaints.contains(complaint), "{complaints}");
    }
}

#[test]
fn more_connections_than_files_may_be_open_are_refused() {
    let limited = r#"ulimit -n 1000 && exec "$0" bench --connections 5000"#;
    let output = Command::new("sh").args(["-c", limited, CLIENTE]).env_clear().output().expect("a shell");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        text(&output.stderr),
        "cliente: --connections 5000: 6024 open files are needed, but the hard limit is 1000 (LimitNOFILE, ulimit -Hn)\n"
    );
}

#[test]
fn an_interrupt_ends_it_with_a_report() {
    let (address, context) = support::servidor::serve("127.0.0.1", &[]);
    let target = address.to_string();
    let arguments =
        ["bench", "--target", &target, "--duration", "1h", "--warmup", "0s", "--connections", "2"];
    let mut child = start(&arguments);
    wait_until("it is at work", || context.metrics.numbers(protocol::Class::Even) > 0);
    send_signal(&child, Signal::INT);
    assert_eq!(wait_for_exit(&mut child).code(), Some(0));
    let output = child.wait_with_output().expect("its output is there");
    let report = text(&output.stdout);
    assert!(report.contains("\nstopped by a signal after ") && report.contains(" 0 wrong"), "{report}");
}

#[test]
fn an_interrupt_before_anything_was_measured_is_no_success() {
    let (address, context) = support::servidor::serve("127.0.0.1", &[]);
    let target = address.to_string();
    let mut child = start(&["bench", "--target", &target, "--warmup", "1h", "--connections", "2"]);
    wait_until("it is at work", || context.metrics.numbers(protocol::Class::Even) > 0);
    send_signal(&child, Signal::INT);
    assert_eq!(wait_for_exit(&mut child).code(), Some(1));
    let output = child.wait_with_output().expect("its output is there");
    assert!(text(&output.stdout).contains("no right reply was measured"), "{}", text(&output.stdout));
}

#[test]
fn the_warm_up_is_reported_apart() {
    let output = bench_with(&servidor(), &["--warmup", "200ms", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!(report["right"], report["measured_requests"]);
    assert!(report["right_in_warmup"].as_u64().is_some_and(|right| right > 0), "{report:#}");
}

#[test]
fn the_progress_shows_rate_and_latencies_on_a_terminal() {
    let (mut screen, terminal) = testkit::terminal();
    let mut command = Command::new(CLIENTE);
    command.args(["bench", "--target", &servidor(), "--duration", "20s", "--warmup", "0s"]);
    command.env_clear().env("TERM", "xterm");
    let mut child = command.stdout(Stdio::null()).stderr(terminal).spawn().expect("it starts");
    drop(command);
    let (mut shown, mut bytes) = (String::new(), [0; 4096]);
    while !["/s, p50 ", ", p99 ", " 0 failed"].iter().all(|part| shown.contains(part)) {
        let count = screen.read(&mut bytes).expect("it draws until it ends");
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    send_signal(&child, Signal::INT);
    // A terminal that nobody reads may fill up.
    while screen.read(&mut bytes).is_ok_and(|count| count > 0) {}
    assert_eq!(wait_for_exit(&mut child).code(), Some(0));
}
