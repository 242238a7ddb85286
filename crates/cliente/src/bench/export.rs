//! What a run came to, for programs: JSON, and HdrHistogram's percentile distribution.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::report::{QUANTILES, Report};
use crate::round::failure::Reason;

/// Steps to each halving of what is left up to 100 %, as HdrHistogram's own tools write them.
const STEPS_PER_HALVING: u32 = 5;
/// Plotters take milliseconds.
const NANOSECONDS: f64 = 1e6;

/// The report as JSON; all times are in nanoseconds.
pub(super) fn json(report: &Report) -> Value {
    let Report { target, load, outcome } = report;
    let tally = &outcome.tally;
    let failures: Map<String, Value> = Reason::ALL
        .iter()
        .zip(&tally.failures)
        .filter(|(reason, _)| **reason != Reason::WrongReply)
        .map(|(reason, &count)| (reason.as_str().to_owned(), count.into()))
        .chain([("unsent".to_owned(), tally.unsent.into())])
        .collect();
    let threads = tally.threads.iter().map(|busy| {
        json!({
            "cpu_share": busy.cpu_share(),
            "waited_share": busy.waited_share(),
            "limit": busy.was_the_limit(),
        })
    });
    json!({
        "target": target.as_str(),
        "address": load.address.to_string(),
        "connections": load.connections,
        "pipeline": load.pipeline,
        "rate": load.rate,
        "connection": if load.keep { "kept" } else { "fresh" },
        "right": tally.right,
        "wrong": tally.wrong(),
        "failures": failures,
        "connections_made": tally.connections,
        "connections_without_port": tally.without_port,
        "measured_requests": tally.latency.len(),
        "measured_seconds": outcome.measured.as_secs_f64(),
        "requests_per_second": report.throughput(),
        "latency_ns": quantiles(&tally.latency),
        "connect_ns": quantiles(&tally.connect),
        "generator": {
            "cpu_ns_per_request": u64::try_from(report.cpu_per_request().as_nanos()).unwrap_or(u64::MAX),
            "threads": threads.collect::<Vec<_>>(),
        },
        "warnings": report.warnings(),
        "all_right": outcome.all_right(),
    })
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    let mut values: Map<String, Value> = QUANTILES
        .iter()
        .map(|&(name, quantile)| (name.to_owned(), histogram.value_at_quantile(quantile).into()))
        .collect();
    values.insert("min".to_owned(), histogram.min().into());
    values.insert("max".to_owned(), histogram.max().into());
    values.insert("mean".to_owned(), histogram.mean().into());
    Value::Object(values)
}

/// Writes the percentile distribution of `times`, which are in nanoseconds.
pub(super) fn write_hdr(mut out: impl Write, times: &Histogram<u64>) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in times.iter_quantiles(STEPS_PER_HALVING) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (milliseconds(step.value_iterated_to()), step.quantile_iterated_to());
        write!(out, "{value:>12.6} {quantile:>14.12} {total:>10}")?;
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let [mean, deviation] = [times.mean(), times.stdev()].map(|value| value / NANOSECONDS);
    writeln!(out, "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]")?;
    let (max, count) = (milliseconds(times.max()), times.len());
    writeln!(out, "#[Max     = {max:>12.6}, Total count    = {count:>12}]")?;
    let buckets = usize::from(times.buckets());
    // All but the first bucket keep only the upper half of their steps.
    let steps = 2 * times.distinct_values() / (buckets + 1);
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {steps:>12}]")
}

#[expect(clippy::cast_precision_loss, reason = "histograms keep three digits")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / NANOSECONDS
}
