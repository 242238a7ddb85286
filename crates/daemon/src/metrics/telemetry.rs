//! The metrics recorder, and the series that both daemons have.

use std::sync::{Mutex, PoisonError};

use ::metrics::{Counter, Gauge, counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::process::{self, Process};
use crate::clock::{Moment, WallClock};
use crate::settings::{REVISION, VERSION};

/// How many buckets a histogram has.
pub(crate) const BUCKETS: usize = 20;
/// The upper bound of the first bucket of the recorder's histograms, in seconds.
const FIRST_BUCKET: f64 = 10e-6;

/// The bounds of a histogram in seconds: the first is `first`, and each is twice the one before.
pub(crate) fn doubling_from(first: f64) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * 2.0)).take(BUCKETS).collect()
}

/// The recorder of this process, and the series that both daemons have.
pub struct Telemetry {
    recorder: PrometheusHandle,
    process: Process,
    clock: WallClock,
    started: (Moment, Gauge),
    reload_successful: Gauge,
    last_successful_reload: (Mutex<Moment>, Gauge),
    events_suppressed: Counter,
    lines_dropped: Counter,
}

impl Telemetry {
    /// Installs the recorder for the daemon `name`, which starts now. Counts made before this are lost.
    ///
    /// # Panics
    ///
    /// If the process already has a recorder.
    pub fn install(name: &str) -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&doubling_from(FIRST_BUCKET));
        let builder = builder.expect("there are buckets");
        let recorder = builder.install_recorder().expect("the only recorder of this process");
        gauge!(
            description: "Always 1; version and revision tell what is running.",
            format!("{name}_build_info"), "version" => VERSION, "revision" => REVISION
        )
        .set(1);
        // The library reads it from /proc/stat, which hardened units hide (ProcSubset=pid).
        let start_time = gauge!(
            description: "Start time of the process since the Unix epoch.",
            "process_start_time_seconds"
        );
        let telemetry = Self {
            recorder,
            process: Process::open(),
            clock: WallClock::new(),
            started: (Moment::now(), start_time),
            reload_successful: gauge!(
                description: "1 if the settings were in order when they were last read, else 0.",
                format!("{name}_config_last_reload_successful")
            ),
            last_successful_reload: (
                Mutex::default(),
                gauge!(
                    description: "When settings in order were last read, since the Unix epoch.",
                    format!("{name}_config_last_reload_success_timestamp_seconds")
                ),
            ),
            events_suppressed: counter!(
                description: "Events of the data path that were not logged, being over the budget.",
                format!("{name}_log_events_suppressed_total")
            ),
            lines_dropped: counter!(
                description: "Log lines lost because standard error did not take them in time.",
                format!("{name}_log_lines_dropped_total")
            ),
        };
        telemetry.reloaded(true);
        telemetry
    }

    /// All metrics in the Prometheus exposition format 0.0.4. `own` adds those of the daemon itself: it updates the
    /// recorder, or appends to the text.
    pub fn render(&self, own: impl FnOnce(&mut String)) -> String {
        self.process.collect();
        let (started, start_time) = &self.started;
        start_time.set(self.clock.unix_time(*started));
        let (reloaded, reload_time) = &self.last_successful_reload;
        reload_time.set(self.clock.unix_time(*reloaded.lock().unwrap_or_else(PoisonError::into_inner)));
        let mut text = String::new();
        own(&mut text);
        text.push_str(&self.recorder.render());
        text.push_str(&process::cpu_time());
        text
    }

    /// Processes the samples that histograms have queued. Call this about once per second.
    pub fn upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// Records a reload.
    pub fn reloaded(&self, successful: bool) {
        self.reload_successful.set(if successful { 1.0 } else { 0.0 });
        if successful {
            *self.last_successful_reload.0.lock().unwrap_or_else(PoisonError::into_inner) = Moment::now();
        }
    }

    /// Records events that were not logged.
    pub fn events_suppressed(&self, count: u64) {
        self.events_suppressed.increment(count);
    }

    /// Records how many log lines have been lost since the start.
    pub fn lines_dropped(&self, total: u64) {
        self.lines_dropped.absolute(total);
    }
}
