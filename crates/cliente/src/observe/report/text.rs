//! The report as text for a terminal of 80 columns.

use std::fmt::Write as _;
use std::time::Duration;

use daemon::plural::Plural;
use protocol::Number;

use super::short::Short;
use super::tally::{Latency, Tally, Times};
use crate::round::Outcome;
use crate::targets::target::Target;

/// The line above the rounds, with a column for the time to resolve if `resolves`.
pub(super) fn heading(resolves: bool) -> String {
    let resolve = if resolves { "resolve " } else { "" };
    format!("{:>4}  {:>30}  {:<5}  {resolve}connect round trip  target\n", "#", "number", "class")
}

/// The line of a round, the last one of `tally`.
pub(super) fn round(
    tally: &Tally,
    target: &Target,
    number: &Number,
    outcome: &Outcome,
    resolves: bool,
) -> String {
    let shown = |time: Option<Duration>, none: &str| {
        time.map_or_else(|| none.to_owned(), |time| Short(time).to_string())
    };
    let (resolve, width) =
        if resolves { (format!("{:>7} ", shown(outcome.resolve, "-")), 17) } else { (String::new(), 9) };
    let result = match (outcome.disturbed, &outcome.result) {
        (Some(_), _) => format!("{:<15} {:>width$}", "disturbed", Short(outcome.elapsed)),
        (None, Ok(round_trip)) => {
            let connect = shown(outcome.connect, "kept");
            format!("{:<5}  {resolve}{connect:>7} {:>10}", number.class().as_str(), Short(*round_trip))
        }
        (None, Err(failure)) => {
            format!("{:<15} {:>width$}", failure.reason().as_str(), Short(outcome.elapsed))
        }
    };
    format!("{:>4}  {:>30}  {result}  {target}\n", tally.ended(), number.as_str())
}

/// The summary: a block for one target, a table for several.
pub(super) fn summary(tallies: &[(Target, Tally)], not_shown: u64, interval: Duration) -> String {
    let mut text = String::new();
    if not_shown > 0 {
        let lines = Plural(not_shown, "line");
        let _ = writeln!(text, "({lines} not shown: the output did not take them in time)");
    }
    let all = Tally::sum(tallies.iter().map(|(_, tally)| tally));
    if let [(target, tally)] = tallies {
        let _ = write!(text, "--- {target} ---\n{}\n{}", counts(&all), times(tally));
    } else {
        let targets = Plural(tallies.len() as u64, "target");
        let _ = write!(text, "--- {targets} ---\n{}{}\n", table(tallies), counts(&all));
    }
    let interval = humantime::format_duration(interval);
    for (ticks, why) in [
        (all.busy, format!("rounds took longer than the interval of {interval}")),
        (all.late, format!("this host was too busy for the interval of {interval}")),
    ] {
        if ticks > 0 {
            let _ = writeln!(text, "{} skipped: {why}", Plural(ticks, "tick"));
        }
    }
    text
}

fn counts(tally: &Tally) -> String {
    let (rounds, right, failed) = (Plural(tally.begun, "round"), tally.right, tally.failed());
    let mut text = format!("{rounds}, {right} right, {failed} failed");
    if failed > 0 {
        let _ = write!(text, " ({})", reasons(tally).join(", "));
    }
    let _ = write!(text, ", {}", tally.loss());
    for other in others(tally) {
        let _ = write!(text, ", {other}");
    }
    text
}

fn reasons(tally: &Tally) -> Vec<String> {
    tally.reasons().map(|(reason, count)| format!("{count} {reason}")).collect()
}

/// The rounds that are neither right nor failed, by kind.
fn others(tally: &Tally) -> impl Iterator<Item = String> {
    [(tally.disturbed, "disturbed"), (tally.cut_short(), "cut short")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
}

fn times(tally: &Tally) -> String {
    let mut text = format!("{:<10}", "");
    for (heading, _) in Times::default().named() {
        let _ = write!(text, " {heading:>9}");
    }
    let resolve = tally.resolve.times().is_some().then_some(("resolve", &tally.resolve));
    let phases = [("connect", &tally.connect), ("round trip", &tally.round_trip)];
    for (name, latency) in resolve.into_iter().chain(phases) {
        let _ = write!(text, "\n{name:<10}");
        let times = latency.times().map(|times| times.named().map(|(_, time)| Short(time).to_string()));
        for time in times.unwrap_or_else(|| std::array::from_fn(|_| "-".to_owned())) {
            let _ = write!(text, " {time:>9}");
        }
    }
    text + "\n"
}

/// A row for each target; behind its name is what the columns do not say.
fn table(tallies: &[(Target, Tally)]) -> String {
    let mut text = format!("{:>30} {:>8} {:>10}\n", "", "connect", "round trip");
    let _ = writeln!(
        text,
        "{:>6} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8}  target",
        "rounds", "right", "failed", "loss", "p50", "p50", "p99", "max"
    );
    for (target, tally) in tallies {
        let loss = tally.loss().percent().map_or("-".to_owned(), |percent| format!("{percent:.1} %"));
        let time = |latency: &Latency, of: fn(Times) -> Duration| {
            latency.times().map_or("-".to_owned(), |times| Short(of(times)).to_string())
        };
        let _ = write!(
            text,
            "{:>6} {:>7} {:>7} {loss:>7} {:>8} {:>8} {:>8} {:>8}  {target}",
            tally.begun,
            tally.right,
            tally.failed(),
            time(&tally.connect, |times| times.p50),
            time(&tally.round_trip, |times| times.p50),
            time(&tally.round_trip, |times| times.p99),
            time(&tally.round_trip, |times| times.max),
        );
        let mut notes = reasons(tally);
        notes.extend(others(tally));
        if !notes.is_empty() {
            let _ = write!(text, "  ({})", notes.join(", "));
        }
        text.push('\n');
    }
    text
}
