//! Metrics of the process, which the kernel provides.

use ::metrics::gauge;
use metrics_process::collector;
use rustix::time::{ClockId, clock_gettime};

/// Updates the recorder with what the kernel knows about this process.
#[expect(clippy::cast_precision_loss, reason = "gauges; what is measured is far below 2^52")]
pub(super) fn collect() {
    let process = collector::collect();
    for (name, help, value) in [
        ("process_open_fds", "Open file descriptors.", process.open_fds),
        ("process_max_fds", "Most open file descriptors, 0 for no limit.", process.max_fds),
        ("process_virtual_memory_bytes", "Virtual memory.", process.virtual_memory_bytes),
        (
            "process_virtual_memory_max_bytes",
            "Most virtual memory, 0 for no limit.",
            process.virtual_memory_max_bytes,
        ),
        ("process_resident_memory_bytes", "Resident memory.", process.resident_memory_bytes),
        ("process_threads", "Threads.", process.threads),
    ] {
        if let Some(value) = value {
            gauge!(description: help, name).set(value as f64);
        }
    }
}

/// The processor time, in the exposition format. The recorder's counters are whole numbers, and a canary uses one second
/// per hour.
pub(super) fn cpu_time() -> String {
    const NAME: &str = "process_cpu_seconds_total";
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, microseconds) = (time.tv_sec, time.tv_nsec / 1000);
    format!(
        "# HELP {NAME} Processor time, user and system.\n# TYPE {NAME} counter\n{NAME} {seconds}.{microseconds:06}\n\n"
    )
}
