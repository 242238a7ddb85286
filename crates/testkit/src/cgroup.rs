//! Control groups for tests, of both versions: cgroups(7).

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::geteuid;

use crate::{Daemon, skip, wait_until};

/// A control group, which is removed when this is dropped. Drop the daemons in it first.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    is_unified: bool,
}

impl Cgroup {
    /// Makes one with `controller` in each hierarchy that has it. A test that gets none has nothing to do: the line
    /// that says so is printed here.
    ///
    /// Root may not be denied one where `CI=true`.
    pub fn all_with(controller: &str) -> Vec<Self> {
        let hierarchies = hierarchies(controller);
        let must_succeed = env::var("CI").as_deref() == Ok("true") && geteuid().is_root();
        let mut cgroups = Vec::new();
        for (root, is_unified) in hierarchies {
            match Self::make(&root, is_unified) {
                // A hierarchy of version 2 has it only if it is passed on from the root.
                Ok(cgroup) if cgroup.has(controller) => cgroups.push(cgroup),
                Ok(_) => {}
                Err(error) => assert!(!must_succeed, "no control group with {controller}: {error}"),
            }
        }
        if cgroups.is_empty() {
            skip(&format!("no control group with {controller} can be made"));
        }
        cgroups
    }

    fn make(root: &Path, is_unified: bool) -> io::Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("servidor-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self { folder, is_unified })
    }

    fn has(&self, controller: &str) -> bool {
        let file = match (controller, self.is_unified) {
            ("freezer", false) => "freezer.state",
            ("freezer", true) => "cgroup.freeze",
            ("cpu", false) => "cpu.cfs_quota_us",
            ("cpu", true) => "cpu.max",
            _ => panic!("no test knows {controller}"),
        };
        self.folder.join(file).exists()
    }

    /// Moves a daemon into it, all threads of it.
    pub fn add(&self, daemon: &Daemon) {
        self.write("cgroup.procs", &daemon.id().to_string());
    }

    /// Grants its processes so much of one processor in each tenth of a second.
    pub fn limit_processor(&self, percent: u32) {
        let (quota, period) = (percent * 1000, 100_000);
        if self.is_unified {
            self.write("cpu.max", &format!("{quota} {period}"));
        } else {
            self.write("cpu.cfs_period_us", &period.to_string());
            self.write("cpu.cfs_quota_us", &quota.to_string());
        }
    }

    /// Freezes its processes, and waits until they are; returns what to write where to thaw them.
    pub(crate) fn freeze(&self) -> (PathBuf, &'static str) {
        if self.is_unified {
            self.write("cgroup.freeze", "1");
            wait_until("the processes are frozen", || self.read("cgroup.events").contains("frozen 1"));
            (self.folder.join("cgroup.freeze"), "0")
        } else {
            self.write("freezer.state", "FROZEN");
            wait_until("the processes are frozen", || self.read("freezer.state") == "FROZEN\n");
            (self.folder.join("freezer.state"), "THAWED")
        }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is busy until the kernel has done away with the last of its processes.
        let is_removed = || fs::remove_dir(&self.folder).is_ok();
        if thread::panicking() {
            let _ = is_removed();
        } else {
            wait_until("the control group is empty", is_removed);
        }
    }
}

/// The writable hierarchies that may have `controller`, and whether each is of version 2.
fn hierarchies(controller: &str) -> Vec<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/mounts").expect("a Linux host");
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = |option| options.split(',').any(|other| other == option);
        let is_unified = kind == "cgroup2";
        let fits = has("rw") && (is_unified || (kind == "cgroup" && has(controller)));
        fits.then(|| (PathBuf::from(root), is_unified))
    };
    mounts.lines().filter_map(hierarchy).collect()
}
