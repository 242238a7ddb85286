//! Makes system calls of a daemon fail: strace(1).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Daemon, get, let_pass, send_signal, tool, wait_for_exit, wait_until};

/// How long calls are counted.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a call may fail in a second: a thread that tries again at once makes thousands.
const MOST_FAILURES_A_SECOND: u128 = 50;
/// The calls that can be made to fail, and those that show when a thread waits.
const TRACED: &str =
    "trace=accept4,recvfrom,sendto,socket,connect,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2";

/// A tracer of some threads of a daemon, which makes system calls of theirs fail.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
    folder: TempDir,
}

impl Tracer {
    /// Attaches to all threads of `daemon` that are called `name`, and makes calls fail as strace's `inject=` says.
    ///
    /// A test that gets `None` returns: the line that says so is printed here.
    pub fn attach(daemon: &Daemon, name: &str, fault: &str) -> Option<Self> {
        let program = tool("strace")?;
        let mut threads = Vec::new();
        wait_until("there is such a thread", || {
            threads = threads_called(daemon, name);
            !threads.is_empty()
        });
        let folder = tempfile::tempdir().expect("a folder for the trace");
        let mut strace = Command::new(program);
        strace
            .args(["-qq", "-e", TRACED, "-e", &format!("inject={fault}"), "-o"])
            .arg(folder.path().join("trace"));
        for thread in &threads {
            strace.arg("-p").arg(thread.file_name().expect("the thread's number"));
        }
        // What it says of threads that it meets inside a call is no news.
        let strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace starts");
        wait_until("strace has attached", || threads.iter().all(|thread| is_traced(thread)));
        Some(Self { strace, folder })
    }

    /// What has been traced by now.
    pub fn trace(&self) -> String {
        fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default()
    }

    /// How many calls have failed.
    pub fn failures(&self) -> usize {
        self.trace().matches("(INJECTED)").count()
    }

    /// Asserts that calls fail, and that nobody tries again and again without a pause.
    pub fn assert_no_spin(&self, fault: &str) {
        wait_until("a call has failed", || self.failures() > 0);
        let (began, before) = (Instant::now(), self.failures());
        let_pass(began, PERIOD);
        let (failures, elapsed) = (self.failures() - before, began.elapsed());
        let most = MOST_FAILURES_A_SECOND * elapsed.as_millis() / PERIOD.as_millis();
        assert!(failures as u128 <= most, "{fault}: {failures} failures in {elapsed:?}");
    }

    /// Detaches, and returns the whole trace.
    pub fn detach(mut self) -> String {
        send_signal(&self.strace, Signal::INT);
        wait_for_exit(&mut self.strace);
        self.trace()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The folders in /proc of the threads that are called `name`.
fn threads_called(daemon: &Daemon, name: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("a child of this process");
    let all = all.map(|thread| thread.expect("an entry").path());
    all.filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name))
        .collect()
}

/// Whether a thread has a tracer: proc_pid_status(5). It may have ended by what the tracer does.
fn is_traced(thread: &Path) -> bool {
    let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
    !status.contains("\nTracerPid:\t0\n")
}

/// Asserts what becomes of the HTTP side of a daemon, called `name`, when accept(2) fails: after errors that may pass it
/// recovers, and those that only a bug can cause end the daemon.
pub fn assert_http_side_recovers(name: &str, start: impl Fn() -> Daemon + Sync) {
    let recovers = |error: &str| {
        let daemon = start();
        let address = daemon.metrics_address();
        let fault = format!("accept4:error={error}");
        let Some(tracer) = Tracer::attach(&daemon, name, &fault) else { return };
        let waiting = thread::spawn(move || get(address, "/-/healthy"));
        tracer.assert_no_spin(&fault);
        tracer.detach();
        assert_eq!(waiting.join().expect("it does not panic").expect("an answer"), "healthy\n", "{error}");
        let failed = daemon.wait_for("metrics accept failed");
        assert_eq!(failed["level"], "WARN", "{failed}");
    };
    let ends = |error: &str| {
        let mut daemon = start();
        let address = daemon.metrics_address();
        let Some(_tracer) = Tracer::attach(&daemon, name, &format!("accept4:error={error}")) else { return };
        let waiting = thread::spawn(move || get(address, "/-/healthy"));
        assert_eq!(daemon.wait().code(), Some(1), "{error}");
        let failed = daemon.wait_for("failed");
        let text = failed["error"].as_str().expect("a text");
        assert!(text.contains("metrics-listen does not listen any more: "), "{error}: {text}");
        assert!(waiting.join().expect("it does not panic").is_err(), "{error}");
    };
    let (recovers, ends) = (&recovers, &ends);
    thread::scope(|scope| {
        for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EACCES", "ENETDOWN", "ECONNABORTED"]
        {
            scope.spawn(move || recovers(error));
        }
        for error in ["EBADF", "EFAULT", "EINVAL", "ENOTSOCK"] {
            scope.spawn(move || ends(error));
        }
    });
}
