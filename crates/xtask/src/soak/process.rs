//! A daemon as a child process, whose log is read, or left alone until its pipe is full.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::{Metrics, Signal, scrape, send_signal, wait_for_exit, wait_until};

use crate::up::TETHER;

/// A running daemon. Dropping it kills it.
pub(super) struct Process {
    pub(super) name: &'static str,
    /// Where its metrics are.
    pub(super) http: SocketAddr,
    child: Child,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    is_left_alone: bool,
    has_ended: bool,
    /// How many lines had each message, and the last one of them.
    lines: HashMap<String, (u64, Value)>,
    /// The first line that must not be there.
    wrong: Option<String>,
}

impl Process {
    /// Starts a daemon with the settings in `config`, and waits until its HTTP side listens.
    pub(super) fn start(name: &'static str, program: &Path, config: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([TETHER, &std::process::id().to_string()])
            .arg(program)
            .args(["--log-format", "json", "--metrics-listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let log = Arc::new(Log::default());
        let follower = Arc::clone(&log);
        thread::spawn(move || follower.follow(stderr));
        let mut process = Self { name, http: SocketAddr::from(([0; 4], 0)), child, log };
        let line = process.wait_for("metrics listening", 1)?;
        process.http = line["address"].as_str().context("no address")?.parse()?;
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    pub(super) fn scrape(&self) -> Metrics {
        scrape(self.http)
    }

    /// How many of its log lines bear this message.
    pub(super) fn lines(&self, message: &str) -> u64 {
        self.log.lock().lines.get(message).map_or(0, |(count, _)| *count)
    }

    /// Waits until so many lines bear this message, and returns the last one.
    pub(super) fn wait_for(&self, message: &str, count: u64) -> anyhow::Result<Value> {
        wait_until(&format!("{} logs {message:?}", self.name), || {
            self.lines(message) >= count || self.log.lock().has_ended
        });
        let seen = self.log.lock();
        let line = seen.lines.get(message).filter(|(lines, _)| *lines >= count);
        let (_, line) = line.with_context(|| format!("{} ended without {message:?}", self.name))?;
        Ok(line.clone())
    }

    /// Whether nobody reads its log from now on.
    pub(super) fn leave_log_alone(&self, is_left_alone: bool) {
        self.log.lock().is_left_alone = is_left_alone;
        self.log.changed.notify_all();
    }

    /// Fails if it has ended, or has logged an error.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let status = self.child.try_wait()?;
        let wrong = self.log.lock().wrong.clone();
        ensure!(wrong.is_none(), "{} logged: {}", self.name, wrong.unwrap_or_default());
        ensure!(status.is_none(), "{} ended by itself: {status:?}", self.name);
        Ok(())
    }

    /// Stops it as a service manager does, and returns its last line.
    pub(super) fn stop(&mut self) -> anyhow::Result<Value> {
        self.check()?;
        self.signal(Signal::TERM);
        let stopped = self.wait_for("stopped", 1)?;
        let status = wait_for_exit(&mut self.child);
        ensure!(status.success(), "{} did not stop well: {status}", self.name);
        Ok(stopped)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.leave_log_alone(false);
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder of the log panics")
    }

    fn follow(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let mut seen = self.lock();
            while seen.is_left_alone {
                seen = self.changed.wait(seen).expect("no holder of the log panics");
            }
            let fields: Value = serde_json::from_slice(&line).unwrap_or_default();
            let message = fields["message"].as_str().unwrap_or_default().to_owned();
            if message.is_empty() || fields["level"] == "ERROR" {
                seen.wrong.get_or_insert_with(|| String::from_utf8_lossy(&line).into_owned());
            }
            let entry = seen.lines.entry(message).or_default();
            *entry = (entry.0 + 1, fields);
        }
        self.lock().has_ended = true;
    }
}
