//! The report of a run for programs: JSON, and HdrHistogram's percentile distribution.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::limit::QUANTILES;
use super::report::Report;
use crate::round::reason::Reason;

/// Steps to each halving of what is left up to 100 %, as HdrHistogram's own tools write them.
const STEPS_PER_HALVING: u32 = 5;
/// Plotters take milliseconds.
const NANOSECONDS: f64 = 1e6;

/// The report as JSON; all times are in nanoseconds.
pub(super) fn json(report: &Report) -> Value {
    let Report { target, load, outcome, limits } = report;
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
    let limits = limits.iter().map(|limit| {
        json!({
            "limit": limit.to_string(),
            "measured": limit.measured(outcome),
            "broken": limit.is_broken(outcome),
        })
    });
    let first_wrong = tally.first_wrong.as_ref().map(|wrong| {
        let (number, expected) = wrong.asked.clone().unzip();
        json!({ "number": number, "expected": expected, "received": wrong.received })
    });
    json!({
        "target": target.as_str(),
        "address": load.address.to_string(),
        "connections": load.connections,
        "pipeline": load.pipeline,
        "rate": load.rate,
        "connection": if load.keep { "kept" } else { "fresh" },
        "stopped": outcome.is_stopped,
        "right": outcome.measured_replies(),
        "right_in_warmup": tally.right - outcome.measured_replies(),
        "wrong": tally.wrong(),
        "first_wrong": first_wrong,
        "failures": failures,
        "connections_made": tally.connections,
        "connections_closed_unasked": tally.closed_unasked,
        "connections_without_port": tally.without_port,
        "connections_never_served": tally.never_served,
        "measured_requests": outcome.measured_replies(),
        "measured_seconds": outcome.measured.as_secs_f64(),
        "requests_per_second": outcome.throughput(),
        "latency_ns": quantiles(&tally.latency),
        "connect_ns": quantiles(&tally.connect),
        "generator": {
            "cpu_ns_per_request": report.cpu_per_request().map(|cpu| cpu.as_nanos()),
            "threads": threads.collect::<Vec<_>>(),
        },
        "warnings": report.warnings(),
        "limits": limits.collect::<Vec<_>>(),
        "all_right": outcome.all_right(),
        "passed": report.is_passed(),
    })
}

/// Nothing, if nothing was measured.
fn quantiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut values: Map<String, Value> = QUANTILES
        .iter()
        .map(|&(name, quantile)| (name.to_owned(), histogram.value_at_quantile(quantile).into()))
        .collect();
    values.insert("min".to_owned(), histogram.min().into());
    values.insert("max".to_owned(), histogram.max().into());
    values.insert("mean".to_owned(), histogram.mean().into());
    Value::Object(values)
}

/// A file that keeps what is in it until it is written anew, as a whole.
#[derive(Debug)]
pub(super) struct HdrFile {
    path: PathBuf,
    /// What is written in the meantime, beside it; nothing where it is a device or a pipe.
    temporary: Option<PathBuf>,
    file: File,
}

impl HdrFile {
    /// Makes sure that `path` can be written.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // A link stays a link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_special = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".tmp");
        let temporary = (!is_special).then(|| path.with_file_name(hidden));
        let file = File::create(temporary.as_ref().unwrap_or(&path))?;
        Ok(Self { path, temporary, file })
    }

    /// Writes the distribution of `times`.
    pub(super) fn write(mut self, times: &Histogram<u64>) -> io::Result<()> {
        let mut out = BufWriter::new(&self.file);
        write_hdr(&mut out, times)?;
        out.flush()?;
        drop(out);
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for HdrFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Writes the percentile distribution of `times`, which are in nanoseconds.
fn write_hdr(mut out: impl Write, times: &Histogram<u64>) -> io::Result<()> {
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
