//! Every series of the targets in the exposition format of Prometheus: name, help and labels side by side.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;

use daemon::clock::WallClock;
use daemon::metrics::histogram::{Bounds, Samples};
use daemon::sync::atomic::{AtomicU64, Ordering::Relaxed};
use protocol::Class;

use super::target::{Group, TargetMetrics, Times, Total};
use crate::round::reason::Reason;

/// A target's counts at a scrape.
pub(super) struct Shown {
    pub(super) metrics: Arc<TargetMetrics>,
    /// Whether the target is no longer asked.
    pub(super) is_gone: bool,
}

/// Appends all series of `targets`.
pub(super) fn write(text: &mut String, targets: &[Shown], bounds: &Bounds, clock: WallClock) {
    if targets.is_empty() {
        return;
    }
    let mut counter = |name, help, count: fn(&TargetMetrics) -> &AtomicU64| {
        head(text, name, "counter", help);
        for Shown { metrics, .. } in targets {
            line(text, name, &metrics.labels, "", count(metrics).load(Relaxed));
        }
    };
    counter("cliente_connections_total", "Connections made.", |metrics| &metrics.connections);
    counter("cliente_rounds_total", "Rounds begun.", |metrics| &metrics.rounds);
    counter(
        "cliente_rounds_skipped_total",
        "Ticks without a round: the last one still ran, or they came a whole interval late.",
        |metrics| &metrics.skipped,
    );
    counter(
        "cliente_rounds_disturbed_total",
        "Rounds that are not counted as right or failed: this process was kept from running.",
        |metrics| &metrics.disturbed,
    );
    write_failures(text, targets);
    write_numbers(text, targets);
    write_state(text, targets, clock);
    write_info(text, targets);
    head(text, RESOLVE.0, "summary", RESOLVE.1);
    for Shown { metrics, .. } in targets {
        metrics.resolve.write(text, RESOLVE.0, &metrics.labels);
    }
    write_times(text, targets, bounds, CONNECT, |metrics| &metrics.connect);
    write_times(text, targets, bounds, ROUND_TRIP, |metrics| &metrics.round_trip);
    write_groups(text, targets, bounds);
}

const RESOLVE: (&str, &str) = ("cliente_resolve_seconds", "How long it took to resolve the name.");
const CONNECT: (&str, &str) =
    ("cliente_connect_seconds", "How long it took to connect; the resolving of the name is not in it.");
const ROUND_TRIP: (&str, &str) = (
    "cliente_round_trip_seconds",
    "From before the request's write to after the last read of a right reply.",
);
const GROUP_CONNECT: (&str, &str) =
    ("cliente_group_connect_seconds", "How long it took to connect, over all targets with the same labels.");
const GROUP_ROUND_TRIP: (&str, &str) =
    ("cliente_group_round_trip_seconds", "Round trips, over all targets with the same labels.");

fn write_failures(text: &mut String, targets: &[Shown]) {
    let name = "cliente_round_failures_total";
    head(text, name, "counter", "Rounds without a right reply, by what went wrong.");
    let labels = Reason::ALL.map(|reason| format!(",reason=\"{}\"", reason.as_str()));
    for Shown { metrics, .. } in targets {
        for (reason, count) in labels.iter().zip(&metrics.failures) {
            line(text, name, &metrics.labels, reason, count.load(Relaxed));
        }
    }
}

fn write_numbers(text: &mut String, targets: &[Shown]) {
    let name = "cliente_numbers_total";
    head(text, name, "counter", "Numbers confirmed by a right reply, by class.");
    let labels = Class::ALL.map(|class| format!(",class=\"{}\"", class.as_str()));
    for Shown { metrics, .. } in targets {
        for (class, count) in labels.iter().zip(&metrics.numbers) {
            line(text, name, &metrics.labels, class, count.load(Relaxed));
        }
    }
}

fn write_state(text: &mut String, targets: &[Shown], clock: WallClock) {
    let name = "cliente_last_success_timestamp_seconds";
    head(text, name, "gauge", "When the last right reply came, in Unix time; 0 before the first.");
    for Shown { metrics, .. } in targets {
        let time = metrics.last_success().map_or(0.0, |moment| clock.unix_time(moment));
        line(text, name, &metrics.labels, "", time);
    }
    let name = "cliente_up";
    let help = "1 if the last round was right; 0 if not, and before the first; NaN if no longer asked.";
    head(text, name, "gauge", help);
    for Shown { metrics, is_gone } in targets {
        match is_gone {
            true => line(text, name, &metrics.labels, "", f64::NAN),
            false => line(text, name, &metrics.labels, "", metrics.up.load(Relaxed)),
        }
    }
}

fn write_info(text: &mut String, targets: &[Shown]) {
    let name = "cliente_target_info";
    head(text, name, "gauge", "1 for the address that the last round of a target used.");
    for Shown { metrics, .. } in targets {
        if let Some(address) = metrics.address() {
            line(text, name, &metrics.labels, &format!(",address=\"{address}\""), 1);
        }
    }
}

fn write_times(
    text: &mut String,
    targets: &[Shown],
    bounds: &Bounds,
    (name, help): (&str, &str),
    times: fn(&TargetMetrics) -> &Times,
) {
    let is_total = matches!(times(&targets[0].metrics), Times::Total(_));
    head(text, name, if is_total { "summary" } else { "histogram" }, help);
    for Shown { metrics, .. } in targets {
        match times(metrics) {
            Times::Samples(samples) => bounds.write(text, name, &metrics.labels, [&**samples].into_iter()),
            Times::Total(total) => Total::write(total, text, name, &metrics.labels),
        }
    }
}

fn write_groups(text: &mut String, targets: &[Shown], bounds: &Bounds) {
    let groups = targets.iter().filter_map(|shown| shown.metrics.group.as_deref());
    let groups: BTreeMap<&str, &Group> = groups.map(|group| (group.labels.as_str(), group)).collect();
    if groups.is_empty() {
        return;
    }
    let mut histogram = |(name, help), samples: fn(&Group) -> &Samples| {
        head(text, name, "histogram", help);
        for group in groups.values() {
            bounds.write(text, name, &group.labels, [samples(group)].into_iter());
        }
    };
    histogram(GROUP_CONNECT, |group| &group.connect);
    histogram(GROUP_ROUND_TRIP, |group| &group.round_trip);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, more_labels: &str, value: impl Display) {
    let _ = writeln!(text, "{name}{{{labels}{more_labels}}} {value}");
}
