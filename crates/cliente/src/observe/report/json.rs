//! The report as JSON: an object for each round and one for the summary, each on a line. What was not measured is null.

use std::time::{Duration, SystemTime};

use protocol::Number;
use serde_json::{Map, Value, json};

use super::super::microseconds;
use super::tally::{Latency, Tally};
use crate::round::Outcome;
use crate::targets::target::Target;

/// The line of a round, the last one of `tally`.
pub(super) fn round(tally: &Tally, target: &Target, number: &Number, outcome: &Outcome) -> String {
    let failure = outcome.result.as_ref().err();
    let result = match (outcome.disturbed, failure) {
        (Some(_), _) => "disturbed",
        (None, None) => "right",
        (None, Some(_)) => "failed",
    };
    let round_trip = outcome.result.as_ref().ok().filter(|_| outcome.disturbed.is_none());
    let object = json!({
        "kind": "round",
        "target": target.as_str(),
        "round": tally.ended(),
        "ended": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "number": number.as_str(),
        "class": number.class().as_str(),
        "result": result,
        "reason": failure.map(|failure| failure.reason().as_str()),
        "error": failure.map(ToString::to_string),
        "resolve_us": outcome.resolve.map(microseconds),
        "connect_us": outcome.connect.map(microseconds),
        "round_trip_us": round_trip.copied().map(microseconds),
        "elapsed_us": microseconds(outcome.elapsed),
        "stalled_us": outcome.disturbed.map(microseconds),
    });
    object.to_string() + "\n"
}

/// The line of the summary.
pub(super) fn summary(tallies: &[(Target, Tally)], not_shown: u64, interval: Duration) -> String {
    let targets: Vec<Value> = tallies.iter().map(|(target, tally)| of_target(target, tally)).collect();
    let mut object = counts(&Tally::sum(tallies.iter().map(|(_, tally)| tally)));
    object.extend([
        ("kind".to_owned(), "summary".into()),
        ("all_right".to_owned(), tallies.iter().all(|(_, tally)| tally.all_right()).into()),
        ("interval_us".to_owned(), microseconds(interval).into()),
        ("rounds_not_shown".to_owned(), not_shown.into()),
        ("targets".to_owned(), targets.into()),
    ]);
    Value::from(object).to_string() + "\n"
}

fn of_target(target: &Target, tally: &Tally) -> Value {
    let mut object = counts(tally);
    object.insert("target".to_owned(), target.as_str().into());
    object.insert("resolve_us".to_owned(), times(&tally.resolve));
    object.insert("connect_us".to_owned(), times(&tally.connect));
    object.insert("round_trip_us".to_owned(), times(&tally.round_trip));
    object.into()
}

fn counts(tally: &Tally) -> Map<String, Value> {
    let reasons: Map<String, Value> =
        tally.reasons().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    let counts: [(&str, Value); 9] = [
        ("rounds", tally.begun.into()),
        ("right", tally.right.into()),
        ("failed", tally.failed().into()),
        ("reasons", reasons.into()),
        ("disturbed", tally.disturbed.into()),
        ("cut_short", tally.cut_short().into()),
        ("loss_percent", tally.loss().percent().into()),
        ("ticks_skipped_busy", tally.busy.into()),
        ("ticks_skipped_late", tally.late.into()),
    ];
    counts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn times(latency: &Latency) -> Value {
    let Some(times) = latency.times() else { return Value::Null };
    times.named().into_iter().map(|(name, time)| (name, microseconds(time))).collect()
}
