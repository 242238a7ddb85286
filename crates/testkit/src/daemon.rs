//! A real daemon as a child process, with its log parsed while it is written.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

use crate::{DEADLINE, wait_until};

/// A running daemon. Dropping it kills it.
///
/// A line on its standard error that is no JSON object fails the test, at the next look at the log or at the drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<Value>,
    unparsable: Option<String>,
    ended: bool,
}

impl Daemon {
    /// Starts `binary` with `arguments`, JSON logs, and metrics on a free port unless `arguments` say otherwise.
    ///
    /// It inherits no variables.
    pub fn start(binary: &str, arguments: &[&str]) -> Self {
        Self::start_with(binary, arguments, &[])
    }

    /// The same, with these variables.
    pub fn start_with(binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary);
        command.args(arguments).args(["--log-format", "json"]).env_clear().stdin(Stdio::null());
        command.envs(variables.iter().copied());
        if !arguments.contains(&"--metrics-listen") {
            command.args(["--metrics-listen", "127.0.0.1:0"]);
        }
        Self::spawn(&mut command)
    }

    /// Starts `command` as it is; its standard error must be a log in JSON.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("standard error is piped");
        let writer = Arc::clone(&log);
        thread::spawn(move || writer.follow(stderr));
        Self { child, log }
    }

    /// Waits for the first log line with this message.
    pub fn wait_for(&self, message: &str) -> Value {
        self.wait_for_line(message, |line| line["message"] == message)
    }

    /// Waits for the first log line that `wanted` accepts.
    pub fn wait_for_line(&self, description: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        let mut state = self.log.lock();
        loop {
            if let Some(line) = state.lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            assert!(!state.ended, "the log ended without: {description}\n{}", state.transcript());
            assert!(!left.is_zero(), "not within {DEADLINE:?}: {description}\n{}", state.transcript());
            state = self.log.changed.wait_timeout(state, left).expect("the log's reader does not panic").0;
        }
    }

    /// All log lines so far; after [`Daemon::wait`], all there will ever be.
    pub fn lines(&self) -> Vec<Value> {
        self.log.lock().lines.clone()
    }

    /// The log lines so far that bear this message.
    pub fn lines_with(&self, message: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["message"] == message);
        lines
    }

    /// Where it listens: the first address, if there are several.
    pub fn address(&self) -> SocketAddr {
        address_in(&self.wait_for("listening"))
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        address_in(&self.wait_for("metrics listening"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it open files from now on only while there are fewer than so many; those that are open stay.
    pub fn limit_open_files(&self, files: u64) {
        let process = Some(Pid::from_child(&self.child));
        let limit = Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(process, Resource::Nofile, limit).expect("a child of this process");
    }

    /// Lets it open no more files than it has open now. Returns how many that are.
    pub fn use_up_files(&self) -> u64 {
        let is_open = |file: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{file}", self.id())).is_ok();
        let lowest_free = (0..u64::MAX).find(|file| !is_open(file)).expect("there is a limit");
        self.limit_open_files(lowest_free);
        lowest_free
    }

    /// The next line with this message after the first `seen` of them.
    pub fn wait_for_another(&self, message: &str, seen: usize) -> Value {
        wait_until(message, || self.lines_with(message).len() > seen);
        self.lines_with(message).swap_remove(seen)
    }

    /// How many files it has open once it has started, without any connection.
    pub fn open_files_at_rest(&self) -> u64 {
        self.wait_for("listening");
        self.open_files()
    }

    /// How many files it has open.
    pub fn open_files(&self) -> u64 {
        let files = fs::read_dir(format!("/proc/{}/fd", self.id())).expect("a child of this process");
        files.count() as u64
    }

    /// How many sockets it has open. Those in the kernel's queues are not open yet.
    pub fn open_sockets(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.id())).expect("a child of this process");
        let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    /// Waits for its end, and for the end of its log.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for_exit(&mut self.child);
        wait_until("the log ends", || self.log.lock().ended);
        status
    }
}

/// Sends a signal to a process that the test has started otherwise than by [`Daemon`].
pub fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child that has not been waited for");
}

/// Waits for the end of such a process.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the process ends", || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    status.expect("the wait above ended")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            drop(self.log.lock());
        }
    }
}

impl Log {
    fn follow(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.expect("a pipe can be read");
            let mut state = self.state.lock().expect("no holder of the log panics");
            match serde_json::from_slice::<Value>(&line) {
                Ok(value) if value.is_object() => state.lines.push(value),
                _ => state.unparsable = Some(String::from_utf8_lossy(&line).into_owned()),
            }
            self.changed.notify_all();
        }
        self.state.lock().expect("no holder of the log panics").ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        let state = self.state.lock().expect("the log's reader does not panic");
        if let Some(line) = state.unparsable.clone() {
            drop(state);
            panic!("no JSON object on standard error: {line}");
        }
        state
    }
}

impl LogState {
    fn transcript(&self) -> String {
        self.lines.iter().fold(String::from("its log:\n"), |mut text, line| {
            writeln!(text, "{line}").expect("a string takes all");
            text
        })
    }
}

fn address_in(line: &Value) -> SocketAddr {
    let address = line["address"].as_str().unwrap_or_else(|| panic!("no address in {line}"));
    address.parse().unwrap_or_else(|error| panic!("{address} is no address: {error}"))
}
