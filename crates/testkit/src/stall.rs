//! Stops a daemon while its peers go on, as on a host that is suspended or overloaded.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::{Daemon, let_pass, wait_until};

/// A daemon that does not run until this is dropped.
///
/// It borrows the daemon, since some kinds of stall outlast even SIGKILL.
#[derive(Debug)]
#[must_use]
pub struct Stall<'d> {
    daemon: &'d Daemon,
    since: Instant,
    thaw: Option<(PathBuf, &'static str)>,
}

impl Stall<'_> {
    /// Stops it by SIGSTOP, and waits until each of its threads has stopped.
    pub fn stop(daemon: &Daemon) -> Stall<'_> {
        daemon.signal(Signal::STOP);
        wait_until("all threads have stopped", || states(daemon).iter().all(|state| *state == 'T'));
        Stall { daemon, since: Instant::now(), thaw: None }
    }

    /// Freezes it with the control group that it is in.
    pub fn freeze<'d>(daemon: &'d Daemon, cgroup: &Cgroup) -> Stall<'d> {
        let thaw = cgroup.freeze();
        Stall { daemon, since: Instant::now(), thaw: Some(thaw) }
    }

    /// Waits until the stall has lasted for `time`: a deadline that was no further off when it began has passed.
    pub fn outlast(&self, time: Duration) {
        let_pass(self.since, time);
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        match &self.thaw {
            None => self.daemon.signal(Signal::CONT),
            Some((file, thawed)) => fs::write(file, thawed).expect("a control group of this test"),
        }
    }
}

/// The state of each thread: proc_pid_stat(5).
fn states(daemon: &Daemon) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("a child of this process");
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    // The name before it is in parentheses, and may hold any others.
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}
