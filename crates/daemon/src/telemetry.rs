//! The metrics recorder, and the series that both daemons have.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use crate::settings::{REVISION, VERSION};

/// How many buckets a histogram has.
pub(crate) const BUCKETS: usize = 20;
/// Where the buckets of the recorder's histograms start, in seconds.
const FIRST_BUCKET: f64 = 10e-6;

/// The bounds of a histogram in seconds: from `first` on, each twice the last.
pub(crate) fn doubling_from(first: f64) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * 2.0)).take(BUCKETS).collect()
}

/// The recorder of this process and its common series.
pub struct Telemetry {
    recorder: PrometheusHandle,
    process: metrics_process::Collector,
    process_start: Gauge,
    started: SystemTime,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    suppressed: Counter,
    dropped: Counter,
}

impl Telemetry {
    /// Installs the recorder for the daemon `name`.
    ///
    /// # Errors
    ///
    /// If the process has a recorder already.
    pub fn install(name: &str) -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new().set_buckets(&doubling_from(FIRST_BUCKET))?;
        let recorder = builder.install_recorder()?;
        let process = metrics_process::Collector::default();
        process.describe();
        describe_gauge!(
            "process_start_time_seconds",
            Unit::Seconds,
            "Start time of the process since the Unix epoch."
        );

        let build_info = format!("{name}_build_info");
        describe_gauge!(build_info.clone(), "Always 1; version and revision tell what is running.");
        gauge!(build_info, "version" => VERSION, "revision" => REVISION).set(1);
        let telemetry = Self {
            recorder,
            process,
            process_start: gauge!("process_start_time_seconds"),
            started: SystemTime::now(),
            reload_successful: described_gauge(
                format!("{name}_config_last_reload_successful"),
                "1 if the settings were in order when they were last read, else 0.",
            ),
            reload_success_time: described_gauge(
                format!("{name}_config_last_reload_success_timestamp_seconds"),
                "When settings in order were last read, since the Unix epoch.",
            ),
            suppressed: described_counter(
                format!("{name}_log_events_suppressed_total"),
                "Events of the data path that were not logged, being over the budget.",
            ),
            dropped: described_counter(
                format!("{name}_log_lines_dropped_total"),
                "Log lines lost because standard error did not take them in time.",
            ),
        };
        telemetry.reloaded(true);
        Ok(telemetry)
    }

    /// All metrics as text of the Prometheus exposition format 0.0.4.
    pub fn render(&self) -> String {
        self.process.collect();
        // The library reads it from /proc/stat, which hardened units hide (ProcSubset=pid).
        self.process_start.set(seconds_since_epoch(self.started));
        with_exact_cpu_time(&self.recorder.render())
    }

    /// Settles what histograms have queued: to be called about once a second.
    pub fn upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// Records that settings were read again.
    pub fn reloaded(&self, successful: bool) {
        self.reload_successful.set(if successful { 1.0 } else { 0.0 });
        if successful {
            self.reload_success_time.set(seconds_since_epoch(SystemTime::now()));
        }
    }

    /// Records events that were not logged.
    pub fn events_suppressed(&self, count: u64) {
        self.suppressed.increment(count);
    }

    /// Records how many log lines have been lost since the start.
    pub fn lines_dropped(&self, total: u64) {
        self.dropped.absolute(total);
    }

    /// How long the process has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }
}

/// Puts the CPU time in place of the library's, which is in whole seconds: a canary uses one in an hour.
fn with_exact_cpu_time(metrics: &str) -> String {
    const NAME: &str = "\nprocess_cpu_seconds_total ";
    let Some((before, rest)) = metrics.split_once(NAME) else { return metrics.to_owned() };
    let after = rest.find('\n').map_or("", |end| &rest[end..]);
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    format!("{before}{NAME}{}.{:06}{after}", time.tv_sec, time.tv_nsec / 1000)
}

/// A gauge with its help text.
pub fn described_gauge(name: String, help: &'static str) -> Gauge {
    describe_gauge!(name.clone(), help);
    gauge!(name)
}

/// A counter with its help text, shown as 0 from now on.
pub fn described_counter(name: String, help: &'static str) -> Counter {
    describe_counter!(name.clone(), help);
    counter!(name)
}

/// A point in time as metrics tell it.
pub fn seconds_since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpu_time_is_replaced() {
        let metrics = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 0\n\nother 1\n";
        let exact = with_exact_cpu_time(metrics);
        let (name, rest) = exact.split_once("counter\n").expect("the type stays");
        let value = rest.strip_suffix("\n\nother 1\n").expect("what follows stays");
        assert_eq!(name, "# TYPE process_cpu_seconds_total ");
        let seconds: f64 =
            value.strip_prefix("process_cpu_seconds_total ").expect("the name").parse().expect("a number");
        assert!(seconds > 0.0);
        assert_eq!(with_exact_cpu_time("other 1\n"), "other 1\n");
    }
}
