//! A histogram for the data path: a sample costs two additions, and allocates nothing.
//!
//! The recorder's own histograms keep every sample until the next upkeep, and read a clock for each.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::telemetry::{BUCKETS, doubling_from};

/// A metric and its buckets, whose bounds double.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// The name of the metric, in seconds.
    pub name: &'static str,
    /// Its description.
    pub help: &'static str,
    /// The upper bound of the first bucket, in nanoseconds.
    pub first_bound_ns: u64,
}

/// The samples of one thread.
#[derive(Debug, Default)]
pub struct Samples {
    /// By bucket. The last one has no upper bound.
    counts: [AtomicU64; BUCKETS + 1],
    sum_ns: AtomicU64,
}

impl Samples {
    /// Adds a sample.
    #[inline]
    pub fn record(&self, histogram: &Histogram, sample: Duration) {
        let nanoseconds = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
        self.counts[histogram.bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl Histogram {
    /// The first bucket whose bound is not below the sample.
    fn bucket(&self, nanoseconds: u64) -> usize {
        let doublings = (nanoseconds.saturating_sub(1) / self.first_bound_ns).checked_ilog2();
        doublings.map_or(0, |doublings| BUCKETS.min(doublings as usize + 1))
    }

    /// The sum of all threads' samples, in the exposition format of Prometheus.
    #[expect(clippy::cast_precision_loss, reason = "seconds as Prometheus has them")]
    pub fn render<'a>(&self, threads: impl Iterator<Item = &'a Samples>) -> String {
        let (mut counts, mut sum_ns) = ([0; BUCKETS + 1], 0);
        for samples in threads {
            for (count, more) in counts.iter_mut().zip(&samples.counts) {
                *count += more.load(Ordering::Relaxed);
            }
            sum_ns += samples.sum_ns.load(Ordering::Relaxed);
        }
        let Self { name, help, first_bound_ns } = self;
        let bounds = doubling_from(*first_bound_ns as f64 / 1e9);
        let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        let mut total: u64 = 0;
        for (bound, count) in bounds.zip(counts) {
            total += count;
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {total}\n", sum_ns as f64 / 1e9);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_in_the_first_bucket_with_a_high_enough_bound() {
        let histogram = Histogram { name: "h", help: "", first_bound_ns: 1000 };
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
    fn the_samples_of_all_threads_are_summed_in_the_exposition_format() {
        let histogram = Histogram { name: "wait_seconds", help: "How long.", first_bound_ns: 1000 };
        let [first, second] = [Samples::default(), Samples::default()];
        first.record(&histogram, Duration::from_nanos(500));
        second.record(&histogram, Duration::from_nanos(1500));
        second.record(&histogram, Duration::from_mins(1));
        let text = histogram.render([&first, &second].into_iter());
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
