//! What ends and what fails a run of `cliente bench`, and what it leaves behind.

mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use protocol::Class;
use serde_json::Value;
use support::{CLIENTE, honest, serve};

fn bench(target: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(CLIENTE);
    command.args(["bench", "--json", "--target", target, "--warmup", "0s"]).args(arguments);
    command.env_clear().stdin(Stdio::null()).output().expect("it starts")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

fn complaints(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("UTF-8")
}

/// A server that closes each connection on which it is asked.
fn closing() -> String {
    serve(drop).to_string()
}

#[test]
fn a_number_of_requests_is_met_exactly() {
    for arguments in [
        &["--connections", "7", "--threads", "2", "--pipeline", "16"][..],
        &["--connections", "4", "--connection", "fresh", "--pipeline", "3"],
        &["--connections", "3", "--threads", "2", "--rate", "2000"],
    ] {
        let (address, context) = support::servidor::serve("127.0.0.1", &["--max-connections", "100"]);
        let output = bench(&address.to_string(), &[&["--requests", "500"], arguments].concat());
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {report:#}");
        assert_eq!(report["right"], 500, "{arguments:?}");
        let served: u64 = Class::ALL.map(|class| context.metrics.numbers(class)).iter().sum();
        assert_eq!(served, 500, "{arguments:?}");
    }
}

#[test]
fn a_number_of_requests_ends_a_run_without_replies() {
    let output = bench(&closing(), &["-n", "5", "--connections", "1"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1));
    let failures = report["failures"].as_object().expect("by reason");
    assert_eq!(failures.values().filter_map(Value::as_u64).sum::<u64>(), 5, "{report:#}");
}

#[test]
fn a_number_of_requests_and_a_duration_exclude_each_other() {
    let output = bench("127.0.0.1:1", &["-n", "5", "--duration", "1s"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(complaints(&output).contains("cannot be used with '--duration <TIME>'"), "{output:?}");
}

#[test]
fn a_broken_limit_fails_the_run_and_says_what_was_measured() {
    let target = honest().to_string();
    let kept = ["--fail-if", "p99.9 > 1h", "--fail-if", "errors > 0%", "--fail-if", "throughput < 0"];
    let output = bench(&target, &[&["-n", "20", "--connections", "1"][..], &kept].concat());
    assert_eq!((output.status.code(), complaints(&output)), (Some(0), ""));

    let broken = ["--fail-if", "max > 1ns", "--fail-if", "throughput < 1000000000"];
    let output = bench(&target, &[&["-n", "20", "--connections", "1"][..], &kept, &broken].concat());
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = complaints(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("cliente: limit max > 1ns: ") && lines[0].ends_with(" was measured"));
    assert!(lines[1].starts_with("cliente: limit throughput < 1000000000: "), "{lines:?}");
    let report = report(&output);
    assert_eq!((&report["all_right"], &report["passed"]), (&true.into(), &false.into()));
    assert_eq!(report["limits"][3]["measured"].as_f64(), report["latency_ns"]["max"].as_f64());
    assert_eq!(report["limits"][3]["broken"], true);
}

#[test]
fn a_limit_on_errors_allows_a_share_of_them() {
    let mut count = 0;
    let target = serve(move |mut asked| {
        count += 1;
        // Of three connections, the second is closed without a reply.
        if count % 3 != 2 {
            let reply = asked.right();
            asked.say(&reply);
            drop(asked.next());
        }
    });
    let arguments = ["--connection", "fresh", "--connections", "1", "-n", "9"];
    for (limit, status) in [(None, 1), (Some("errors > 90%"), 0), (Some("errors > 10%"), 1)] {
        let limit: Vec<&str> = limit.iter().flat_map(|limit| ["--fail-if", limit]).collect();
        let output = bench(&target.to_string(), &[&arguments[..], &limit].concat());
        assert_eq!(output.status.code(), Some(status), "{limit:?}: {:#}", report(&output));
    }
}

#[test]
fn what_is_no_limit_is_refused() {
    let output = bench("127.0.0.1:1", &["--fail-if", "p98 > 2ms"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(complaints(&output).contains("\"p98\": expected p50, p90, p99, p99.9, "), "{output:?}");
}

#[test]
fn without_a_right_reply_nothing_is_reported_as_measured() {
    let output = bench(&closing(), &["--connections", "1", "--duration", "200ms", "--fail-if", "p99 > 1h"]);
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(report["right"], 0);
    for name in ["latency_ns", "requests_per_second"] {
        assert_eq!(report[name], Value::Null, "{name}");
    }
    assert_eq!(report["generator"]["cpu_ns_per_request"], Value::Null);
    assert_eq!(complaints(&output), "cliente: limit p99 > 1h: nothing was measured\n");
}

#[test]
fn a_distribution_is_replaced_only_by_a_run_that_measured_something() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("latency.hgrm");
    fs::write(&path, "the last one").expect("a new file");
    let hdr = ["--hdr", path.to_str().expect("UTF-8"), "--connections", "1", "-n", "3"];
    assert_eq!(bench(&closing(), &hdr).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "the last one");
    assert_eq!(bench(&honest().to_string(), &hdr).status.code(), Some(0));
    assert!(fs::read_to_string(&path).expect("it is there").contains("Total count    =            3]"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
}

#[test]
fn a_distribution_that_cannot_be_written_is_complained_of_at_once() {
    let output = bench(&honest().to_string(), &["--hdr", "/nowhere/latency.hgrm"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(complaints(&output).starts_with("cliente: --hdr /nowhere/latency.hgrm: "), "{output:?}");
}
