//! The metrics recorder, and the series that both daemons have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

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
    name: &'static str,
    recorder: OnceLock<PrometheusHandle>,
    process: metrics_process::Collector,
    started: SystemTime,
    last_reload: Mutex<LastReload>,
    suppressed: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Clone, Copy)]
struct LastReload {
    successful: bool,
    last_success: SystemTime,
}

impl Telemetry {
    /// For the daemon `name`, which starts now.
    pub fn new(name: &'static str) -> Self {
        let started = SystemTime::now();
        Self {
            name,
            recorder: OnceLock::new(),
            process: metrics_process::Collector::default(),
            started,
            last_reload: Mutex::new(LastReload { successful: true, last_success: started }),
            suppressed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Installs the recorder, if that has not been done: what is told to it before is lost. The first to ask for the
    /// metrics installs it too, if nothing is told to it but then; it compares two clocks for a millisecond or more,
    /// which a daemon's start need not wait for.
    ///
    /// # Panics
    ///
    /// If the process has another recorder.
    pub fn install(&self) -> &PrometheusHandle {
        self.recorder.get_or_init(|| {
            let builder = PrometheusBuilder::new().set_buckets(&doubling_from(FIRST_BUCKET));
            let builder = builder.expect("there are buckets");
            builder.install_recorder().expect("the only recorder of this process")
        })
    }

    /// All metrics as text of the Prometheus exposition format 0.0.4; those of the daemon itself are added by `own`,
    /// which tells them to the recorder, or returns them as text.
    pub fn render(&self, own: impl FnOnce() -> String) -> String {
        let recorder = self.install();
        self.show();
        let own = own();
        with_exact_cpu_time(&recorder.render()) + &own
    }

    /// Tells the recorder of the series that both daemons have.
    fn show(&self) {
        self.process.describe();
        self.process.collect();
        // The library reads it from /proc/stat, which hardened units hide (ProcSubset=pid).
        let help = "Start time of the process since the Unix epoch.";
        describe_gauge!("process_start_time_seconds", Unit::Seconds, help);
        gauge!("process_start_time_seconds").set(seconds_since_epoch(self.started));

        let name = |suffix| format!("{}_{suffix}", self.name);
        let help = "Always 1; version and revision tell what is running.";
        describe_gauge!(name("build_info"), help);
        gauge!(name("build_info"), "version" => VERSION, "revision" => REVISION).set(1);

        let LastReload { successful, last_success } = *self.last_reload();
        let help = "1 if the settings were in order when they were last read, else 0.";
        describe_gauge!(name("config_last_reload_successful"), help);
        gauge!(name("config_last_reload_successful")).set(if successful { 1.0 } else { 0.0 });
        let help = "When settings in order were last read, since the Unix epoch.";
        describe_gauge!(name("config_last_reload_success_timestamp_seconds"), help);
        gauge!(name("config_last_reload_success_timestamp_seconds")).set(seconds_since_epoch(last_success));

        let help = "Events of the data path that were not logged, being over the budget.";
        describe_counter!(name("log_events_suppressed_total"), help);
        counter!(name("log_events_suppressed_total")).absolute(self.suppressed.load(Ordering::Relaxed));
        let help = "Log lines lost because standard error did not take them in time.";
        describe_counter!(name("log_lines_dropped_total"), help);
        counter!(name("log_lines_dropped_total")).absolute(self.dropped.load(Ordering::Relaxed));
    }

    /// Settles what histograms have queued: to be called about once a second.
    pub fn upkeep(&self) {
        if let Some(recorder) = self.recorder.get() {
            recorder.run_upkeep();
        }
    }

    /// Records that settings were read again.
    pub fn reloaded(&self, successful: bool) {
        let mut last = self.last_reload();
        last.successful = successful;
        if successful {
            last.last_success = SystemTime::now();
        }
    }

    fn last_reload(&self) -> MutexGuard<'_, LastReload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records events that were not logged.
    pub fn events_suppressed(&self, count: u64) {
        self.suppressed.fetch_add(count, Ordering::Relaxed);
    }

    /// Records how many log lines have been lost since the start.
    pub fn lines_dropped(&self, total: u64) {
        self.dropped.store(total, Ordering::Relaxed);
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
