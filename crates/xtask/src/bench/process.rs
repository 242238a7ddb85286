//! What the kernel counts for a process: its time, its memory, how often it slept; and the machine it runs on.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Processor time of all threads, user and system.
pub(crate) fn cpu_time(id: u32) -> anyhow::Result<Duration> {
    let threads = of_threads(id, "schedstat", |text| text.split_whitespace().next()?.parse().ok())?;
    Ok(Duration::from_nanos(threads))
}

/// How often threads have gone to sleep: each had to be woken.
pub(crate) fn sleeps(id: u32) -> anyhow::Result<u64> {
    of_threads(id, "status", |text| field(text, "voluntary_ctxt_switches:"))
}

/// Bytes resident.
pub(crate) fn resident(id: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(field(&status, "VmRSS:").context("no VmRSS")? * 1024)
}

/// Waits while nothing is asked.
#[expect(clippy::disallowed_methods, reason = "an idle server is measured by leaving it alone")]
pub(crate) fn rest(duration: Duration) {
    sleep(duration);
}

/// Waits until the kernel's table of connections has room: full, it drops packets of everyone.
pub(crate) fn await_room_for_connections() -> anyhow::Result<()> {
    let count = |name| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let start = Instant::now();
    while let (Some(count), Some(most)) = (count("count"), count("max")) {
        if count < most / 2 {
            break;
        }
        anyhow::ensure!(start.elapsed() < Duration::from_mins(5), "{count} connections are being tracked");
        rest(Duration::from_secs(5));
    }
    Ok(())
}

/// The machine in generic words.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let memory = field(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default().div_ceil(1024 * 1024);
    let release = read("/proc/sys/kernel/osrelease");
    let kernel = release.split('-').next().unwrap_or_default().trim();
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = model.unwrap_or("unknown").trim();
    format!("{processors} processors ({model}), {memory} GiB of memory, Linux {kernel}")
}

fn of_threads(id: u32, file: &str, figure: impl Fn(&str) -> Option<u64>) -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread may end between the listing and the look.
        let text = fs::read_to_string(thread?.path().join(file)).unwrap_or_default();
        sum += figure(&text).unwrap_or_default();
    }
    Ok(sum)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_a_busy_thread_is_counted() {
        let id = std::process::id();
        let before = cpu_time(id).expect("this process");
        let start = Instant::now();
        while cpu_time(id).expect("this process") == before {
            assert!(start.elapsed() < Duration::from_secs(20), "no time was counted");
        }
        assert!(resident(id).expect("this process") > 100_000);
    }

    #[test]
    fn fields_are_found_by_their_name() {
        assert_eq!(field("VmHWM:\t  10 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("VmHWM:\t  10 kB\n", "VmRSS:"), None);
    }
}
