use std::io::{Read, Seek, SeekFrom};

use super::*;
use crate::round::failure::Failure;

const TEXT: Limited = Limited { rounds: 3, quiet: false, json: false };

fn number(text: &str) -> Number {
    Number::parse(text.as_bytes()).expect("a number")
}

fn right(connect: Option<u64>, round_trip: u64) -> Outcome {
    let round_trip = Duration::from_micros(round_trip);
    let connect = connect.map(Duration::from_micros);
    Outcome {
        resolve: None,
        address: None,
        connect,
        result: Ok(round_trip),
        elapsed: round_trip,
        disturbed: None,
    }
}

fn failed() -> Outcome {
    let timeout = Duration::from_secs(3);
    Outcome {
        resolve: None,
        address: None,
        connect: None,
        result: Err(Failure::ReplyTimeout(timeout)),
        elapsed: timeout,
        disturbed: None,
    }
}

fn disturbed() -> Outcome {
    Outcome { disturbed: Some(Duration::from_millis(70)), ..right(Some(51), 88) }
}

/// What is printed of some targets' rounds, by `rounds`, and whether all was right.
fn printed(limited: Limited, targets: &[&str], rounds: impl FnOnce(&Report, &[Target])) -> (String, bool) {
    let mut out = tempfile::tempfile().expect("a file");
    let targets: Vec<Target> = targets.iter().map(|target| target.parse().expect("a target")).collect();
    let copy = out.try_clone().expect("a file");
    let report = Report::begin(copy, limited, Duration::from_millis(1), &targets).expect("a thread");
    rounds(&report, &targets);
    report.end().expect("a file takes all");
    let mut text = String::new();
    out.seek(SeekFrom::Start(0)).and_then(|_| out.read_to_string(&mut text)).expect("UTF-8");
    (text, report.all_right())
}

fn run(report: &Report, target: &Target, digits: &str, outcome: &Outcome) {
    report.begun(target);
    report.round(target, &number(digits), outcome);
}

/// One round of each kind, and one that is cut short.
fn one_of_each(report: &Report, targets: &[Target]) {
    let target = &targets[0];
    run(report, target, "123456789012345678901234567890", &right(Some(345), 88));
    run(report, target, "42", &right(None, 1234));
    run(report, target, "12345678901", &failed());
    run(report, target, "7", &disturbed());
    report.begun(target);
    report.skipped(target, 2, Skip::Busy);
    report.skipped(target, 1, Skip::Late);
}

#[test]
fn a_whole_report_fits_in_80_columns() {
    let (text, all_right) = printed(TEXT, &["127.0.0.1:8888"], one_of_each);
    assert!(!all_right);
    assert_eq!(
        text,
        "   #                          number  class  connect round trip  target
   1  123456789012345678901234567890  large   345 µs    88.0 µs  127.0.0.1:8888
   2                              42  even      kept    1.23 ms  127.0.0.1:8888
   3                     12345678901  reply_timeout      3.00 s  127.0.0.1:8888
   4                               7  disturbed         88.0 µs  127.0.0.1:8888

--- 127.0.0.1:8888 ---
5 rounds, 2 right, 1 failed (1 reply_timeout), 33.3 % loss, 1 disturbed, 1 cut short
                 min      mean       p50       p90       p99       max
connect       345 µs    345 µs    345 µs    345 µs    345 µs    345 µs
round trip   88.0 µs    661 µs   88.0 µs   1.23 ms   1.23 ms   1.23 ms
2 ticks skipped: rounds took longer than the interval of 1ms
1 tick skipped: this host was too busy for the interval of 1ms
"
    );
    let counts = |line: &&str| !line.contains(" rounds, ");
    assert!(text.lines().filter(counts).all(|line| line.chars().count() <= 80));
}

#[test]
fn several_targets_are_a_table() {
    let limited = Limited { quiet: true, ..TEXT };
    let (text, all_right) = printed(limited, &["127.0.0.1:8888", "b.example:1", "c:1"], |report, targets| {
        run(report, &targets[0], "42", &right(Some(51), 88));
        run(report, &targets[0], "42", &right(Some(53), 1234));
        run(report, &targets[1], "42", &failed());
        run(report, &targets[1], "42", &failed());
        report.begun(&targets[2]);
    });
    assert!(!all_right);
    assert_eq!(
        text,
        "--- 3 targets ---
                                connect round trip
rounds   right  failed    loss      p50      p50      p99      max  target
     2       2       0   0.0 %  51.0 µs  88.0 µs  1.23 ms  1.23 ms  127.0.0.1:8888
     2       0       2 100.0 %        -        -        -        -  b.example:1  (2 reply_timeout)
     1       0       0       -        -        -        -        -  c:1  (1 cut short)
5 rounds, 2 right, 2 failed (2 reply_timeout), 50.0 % loss, 1 cut short
"
    );
}

#[test]
fn nothing_measured_is_no_success() {
    let (text, all_right) =
        printed(TEXT, &["a:1"], |report, targets| run(report, &targets[0], "42", &disturbed()));
    assert!(!all_right);
    assert!(text.contains("\n1 round, 0 right, 0 failed, loss unknown, 1 disturbed\n"), "{text}");
    let (_, all_right) = printed(TEXT, &["a:1", "b:1"], |report, targets| {
        run(report, &targets[0], "42", &right(None, 88));
    });
    assert!(!all_right, "one target had no round");
}

#[test]
fn json_has_an_object_for_each_round_and_one_for_the_summary() {
    let limited = Limited { json: true, ..TEXT };
    let (text, _) = printed(limited, &["a:1"], one_of_each);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [right, kept, failed, disturbed, summary] = lines.as_slice() else { panic!("{text}") };
    for (field, value) in [("kind", "round"), ("target", "a:1"), ("result", "right"), ("class", "large")] {
        assert_eq!(right[field], value, "{right}");
    }
    assert_eq!((&right["connect_us"], &right["round_trip_us"]), (&345.into(), &88.into()));
    assert_eq!((&right["reason"], &right["stalled_us"]), (&().into(), &().into()));
    assert_eq!((&kept["round"], &kept["connect_us"]), (&2.into(), &().into()));
    assert_eq!((&failed["reason"], &failed["round_trip_us"]), (&"reply_timeout".into(), &().into()));
    assert_eq!((&disturbed["result"], &disturbed["round_trip_us"]), (&"disturbed".into(), &().into()));
    assert_eq!(disturbed["stalled_us"], 70_000);
    let target = &summary["targets"][0];
    assert_eq!((&summary["kind"], &summary["all_right"]), (&"summary".into(), &false.into()));
    for counts in [summary, target] {
        assert_eq!(
            (&counts["rounds"], &counts["failed"], &counts["cut_short"]),
            (&5.into(), &1.into(), &1.into())
        );
        assert_eq!(
            (&counts["reasons"]["reply_timeout"], &counts["ticks_skipped_busy"]),
            (&1.into(), &2.into())
        );
    }
    assert_eq!((&target["connect_us"]["p99"], &target["round_trip_us"]["max"]), (&345.into(), &1234.into()));
}

#[test]
fn json_is_null_for_what_was_not_measured() {
    let limited = Limited { json: true, quiet: true, ..TEXT };
    let (text, _) = printed(limited, &["a:1"], |_, _| {});
    let summary: serde_json::Value = serde_json::from_str(&text).expect("one object");
    let target = &summary["targets"][0];
    for field in ["loss_percent", "connect_us", "round_trip_us"] {
        assert!(target[field].is_null(), "{field} in {summary}");
    }
}
