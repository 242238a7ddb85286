//! A histogram for the data path: a sample costs two additions, and allocates nothing.
//!
//! The recorder's own histograms keep every sample until the next upkeep, and read a clock for each.

use std::fmt::Write as _;
use std::time::Duration;

use super::telemetry::BUCKETS;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The most buckets that a histogram has, besides the one without a bound.
pub const MAX_BUCKETS: usize = BUCKETS;

/// The upper bounds of a histogram's buckets, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    nanoseconds: Vec<u64>,
    /// The values of the label `le`, the one for no bound included.
    le: Vec<String>,
}

impl Bounds {
    /// These bounds, of which only the first [`MAX_BUCKETS`] count.
    #[expect(clippy::cast_precision_loss, reason = "seconds as Prometheus has them")]
    pub fn new(nanoseconds: impl IntoIterator<Item = u64>) -> Self {
        let nanoseconds: Vec<u64> = nanoseconds.into_iter().take(MAX_BUCKETS).collect();
        let seconds = nanoseconds.iter().map(|bound| (*bound as f64 / 1e9).to_string());
        let le = seconds.chain(["+Inf".to_owned()]).collect();
        Self { nanoseconds, le }
    }

    /// The first bucket whose bound is not below the sample.
    pub fn bucket(&self, sample: Duration) -> usize {
        let nanoseconds = whole_nanoseconds(sample);
        self.nanoseconds.partition_point(|bound| *bound < nanoseconds)
    }

    /// Appends the sum of all threads' samples to `text`, in the exposition format of Prometheus. `labels` are as they stand
    /// between braces.
    pub fn write<'a>(
        &self,
        text: &mut String,
        name: &str,
        labels: &str,
        threads: impl Iterator<Item = &'a Samples>,
    ) {
        let (mut counts, mut sum_ns) = ([0; BUCKETS + 1], 0);
        for samples in threads {
            for (count, more) in counts.iter_mut().zip(&samples.counts) {
                *count += more.load(Ordering::Relaxed);
            }
            sum_ns += samples.sum_ns.load(Ordering::Relaxed);
        }
        let separator = if labels.is_empty() { "" } else { "," };
        let mut total: u64 = 0;
        for (bound, count) in self.le.iter().zip(counts) {
            total += count;
            let _ = writeln!(text, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {total}");
        }
        write_total(text, name, labels, sum_ns, total);
    }
}

/// Appends the sum and the count of samples to `text`.
#[expect(clippy::cast_precision_loss, reason = "seconds as Prometheus has them")]
pub fn write_total(text: &mut String, name: &str, labels: &str, sum_ns: u64, count: u64) {
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    let sum = sum_ns as f64 / 1e9;
    let _ =
        writeln!(text, "{name}_sum{open}{labels}{close} {sum}\n{name}_count{open}{labels}{close} {count}");
}

/// A sample as it is counted.
pub fn whole_nanoseconds(sample: Duration) -> u64 {
    u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX)
}

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
        self.add(histogram.bucket(whole_nanoseconds(sample)), sample);
    }

    /// Adds a sample to the bucket that [`Bounds::bucket`] says.
    #[inline]
    pub fn add(&self, bucket: usize, sample: Duration) {
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(whole_nanoseconds(sample), Ordering::Relaxed);
    }
}

impl Histogram {
    /// The first bucket whose bound is not below the sample.
    fn bucket(&self, nanoseconds: u64) -> usize {
        let doublings = (nanoseconds.saturating_sub(1) / self.first_bound_ns).checked_ilog2();
        doublings.map_or(0, |doublings| BUCKETS.min(doublings as usize + 1))
    }

    /// The sum of all threads' samples, in the exposition format of Prometheus.
    pub fn render<'a>(&self, threads: impl Iterator<Item = &'a Samples>) -> String {
        let Self { name, help, first_bound_ns } = *self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        let bounds = std::iter::successors(Some(first_bound_ns), |bound| Some(bound * 2));
        Bounds::new(bounds).write(&mut text, name, "", threads);
        text.push('\n');
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

    #[test]
    fn any_bounds_are_possible_and_labels_come_before_them() {
        let bounds = Bounds::new([1_000, 2_500_000]);
        for (nanoseconds, bucket) in [(0, 0), (1_000, 0), (1_001, 1), (2_500_000, 1), (2_500_001, 2)] {
            assert_eq!(bounds.bucket(Duration::from_nanos(nanoseconds)), bucket, "{nanoseconds}");
        }
        let samples = Samples::default();
        for sample in [Duration::from_millis(1), Duration::from_millis(3)] {
            samples.add(bounds.bucket(sample), sample);
        }
        let mut text = String::new();
        bounds.write(&mut text, "wait_seconds", "zone=\"a\"", [&samples].into_iter());
        assert_eq!(
            text,
            "wait_seconds_bucket{zone=\"a\",le=\"0.000001\"} 0\nwait_seconds_bucket{zone=\"a\",le=\"0.0025\"} 1\n\
             wait_seconds_bucket{zone=\"a\",le=\"+Inf\"} 2\n\
             wait_seconds_sum{zone=\"a\"} 0.004\nwait_seconds_count{zone=\"a\"} 2\n"
        );
    }
}
