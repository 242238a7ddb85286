//! A histogram for the data path: a sample is two additions; nothing is allocated, queued or settled later.
//!
//! The recorder's own keep every sample until the next upkeep, with a clock reading of their own.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::{BUCKETS, doubling_from};

/// Counts durations in buckets whose bounds double.
#[derive(Debug)]
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    /// The first bucket's bound in nanoseconds.
    first: u64,
    /// The last one has no bound.
    counts: [AtomicU64; BUCKETS + 1],
    /// Of all samples, in nanoseconds.
    sum: AtomicU64,
}

impl Histogram {
    /// One without samples, whose first bucket ends at `first` nanoseconds.
    pub fn new(name: &'static str, help: &'static str, first: u64) -> Self {
        Self { name, help, first, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    /// Adds a sample.
    #[inline]
    pub fn record(&self, sample: Duration) {
        let nanoseconds = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
        self.counts[self.bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The first bucket whose bound is not below the sample.
    fn bucket(&self, nanoseconds: u64) -> usize {
        let doublings = (nanoseconds.saturating_sub(1) / self.first).checked_ilog2();
        doublings.map_or(0, |doublings| BUCKETS.min(doublings as usize + 1))
    }
}

/// In the exposition format of Prometheus.
impl Display for Histogram {
    #[expect(clippy::cast_precision_loss, reason = "seconds as Prometheus has them")]
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, help, .. } = self;
        writeln!(formatter, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        let bounds = doubling_from(self.first as f64 / 1e9);
        let mut count = 0;
        for (bound, samples) in
            bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]).zip(&self.counts)
        {
            count += samples.load(Ordering::Relaxed);
            writeln!(formatter, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e9;
        writeln!(formatter, "{name}_sum {sum}\n{name}_count {count}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_in_the_first_bucket_that_has_room_for_it() {
        let histogram = Histogram::new("h", "", 1000);
        let last = 1000 << (BUCKETS - 1);
        for (nanoseconds, bucket) in [
            (0, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (4000, 2),
            (4001, 3),
            (last, BUCKETS - 1),
            (last + 1, BUCKETS),
            (u64::MAX, BUCKETS),
        ] {
            assert_eq!(histogram.bucket(nanoseconds), bucket, "{nanoseconds}");
        }
    }

    #[test]
    fn it_is_told_as_prometheus_reads_it() {
        let histogram = Histogram::new("wait_seconds", "How long.", 1000);
        histogram.record(Duration::from_nanos(500));
        histogram.record(Duration::from_nanos(1500));
        histogram.record(Duration::from_mins(1));
        let text = histogram.to_string();
        assert!(
            text.starts_with(
                "# HELP wait_seconds How long.\n# TYPE wait_seconds histogram\n\
                 wait_seconds_bucket{le=\"0.000001\"} 1\nwait_seconds_bucket{le=\"0.000002\"} 2\n"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("_bucket{le=\"+Inf\"} 3\nwait_seconds_sum 60.000002\nwait_seconds_count 3\n\n"),
            "{text}"
        );
    }
}
