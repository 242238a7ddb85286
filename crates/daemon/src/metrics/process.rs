//! Metrics of the process, which the kernel provides.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use ::metrics::gauge;
use rustix::fs::{RawDir, SeekFrom, fstat, seek};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// More than proc_pid_status(5) has.
const STATUS_SIZE: usize = 8 * 1024;

/// What the kernel tells about this process. The files stay open: a process that can open no others is when an operator wants
/// to know how many it has.
#[derive(Debug)]
pub(super) struct Process {
    /// `None` without /proc.
    status: Option<File>,
    /// A folder with an entry for each open file. It is read from where it was read last.
    files: Option<Mutex<File>>,
}

impl Process {
    pub(super) fn open() -> Self {
        let open = |name: &str| File::open(format!("/proc/self/{name}")).ok();
        Self { status: open("status"), files: open("fd").map(Mutex::new) }
    }

    /// Updates the recorder with what the kernel knows about this process.
    #[expect(clippy::cast_precision_loss, reason = "gauges; what is measured is far below 2^52")]
    pub(super) fn collect(&self) {
        let status = self.status.as_ref().and_then(|file| text(file).ok()).unwrap_or_default();
        let limit = |resource| Some(getrlimit(resource).current.unwrap_or(0));
        for (name, help, value) in [
            ("process_open_fds", "Open file descriptors.", self.open_files()),
            ("process_max_fds", "Most open file descriptors, 0 for no limit.", limit(Resource::Nofile)),
            ("process_virtual_memory_bytes", "Virtual memory.", bytes(&status, "VmSize:")),
            ("process_virtual_memory_max_bytes", "Most virtual memory, 0 for no limit.", limit(Resource::As)),
            ("process_resident_memory_bytes", "Resident memory.", bytes(&status, "VmRSS:")),
            ("process_threads", "Threads.", number(&status, "Threads:")),
        ] {
            if let Some(value) = value {
                gauge!(description: help, name).set(value as f64);
            }
        }
    }

    fn open_files(&self) -> Option<u64> {
        let folder = self.files.as_ref()?.lock().ok()?;
        // Linux 6.2 and later say how many entries there are.
        match fstat(&*folder).ok()?.st_size {
            0 => entries(&folder).ok(),
            size => u64::try_from(size).ok(),
        }
    }
}

/// How many entries a folder has, beside itself and its parent.
fn entries(folder: &File) -> io::Result<u64> {
    seek(folder, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); 4 * 1024];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        if !entry?.file_name().to_bytes().starts_with(b".") {
            count += 1;
        }
    }
    Ok(count)
}

/// What the file holds now.
fn text(file: &File) -> io::Result<String> {
    let mut text = [0; STATUS_SIZE];
    let length = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// The number after `name`.
fn number(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The same, where it is in KiB.
fn bytes(status: &str, name: &str) -> Option<u64> {
    number(status, name).map(|kib| kib * 1024)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_many_files_are_open() {
        let process = Process::open();
        let folder = process.files.as_ref().expect("a Linux host").lock().expect("no panic");
        let before = entries(&folder).expect("it can be read");
        let more: Vec<File> = (0..50).map(|_| File::open("/dev/null").expect("a file")).collect();
        let count = entries(&folder).expect("it can be read again");
        drop(folder);
        // Other tests open and close files meanwhile.
        assert!((before + 40..before + 60).contains(&count), "{before} and 50 are not {count}");
        assert!(process.open_files().is_some_and(|files| files.abs_diff(count) < 10), "{process:?}");
        drop(more);
    }

    #[test]
    fn sizes_are_in_bytes() {
        let status = "Name:\tservidor\nVmSize:\t    8192 kB\nVmRSS:\t    12 kB\nThreads:\t5\n";
        assert_eq!(bytes(status, "VmSize:"), Some(8 << 20));
        assert_eq!((bytes(status, "VmRSS:"), number(status, "Threads:")), (Some(12 << 10), Some(5)));
        assert_eq!(number(status, "VmSwap:"), None);
    }
}
