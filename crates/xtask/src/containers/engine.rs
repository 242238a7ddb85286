//! The Docker engine: the one that answers, or one that is started for the time of the checks.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, wait_for};
use crate::command::shown;
use testkit::find_program;

/// An engine that answers. One that was started here ends with this.
pub(super) struct Engine {
    started: Option<Child>,
}

impl Engine {
    pub(super) fn find_or_start() -> anyhow::Result<Self> {
        if docker(["info"]).is_ok() {
            return Ok(Self { started: None });
        }
        ensure!(
            find_program("dockerd").is_some(),
            "no Docker engine answers, and there is no dockerd to start"
        );
        let mut engine = Self { started: None };
        engine.start()?;
        Ok(engine)
    }

    /// Whether it was started here, and so may be restarted.
    pub(super) fn is_ours(&self) -> bool {
        self.started.is_some()
    }

    /// Stops the engine that was started here, and starts it again.
    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        self.stop();
        self.start()
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let log = std::env::temp_dir().join("xtask-dockerd.log");
        let stderr = File::options().create(true).append(true).open(&log);
        let stderr = stderr.with_context(|| format!("cannot write {}", log.display()))?;
        let mut dockerd = Command::new("dockerd");
        let dockerd = dockerd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
        self.started = Some(dockerd.context("cannot start dockerd")?);
        wait_for("the engine answers", DEADLINE, || docker(["info"]).map(Some))
            .with_context(|| format!("dockerd's log is {}", log.display()))?;
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut dockerd) = self.started.take() {
            // Fails only if it has ended already.
            let _ = kill_process(Pid::from_child(&dockerd), Signal::TERM);
            let _ = dockerd.wait();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs `docker`, and returns what it prints.
pub(super) fn docker<'a>(arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(arguments);
    output_of(command)
}

/// What a container has logged. Docker hands on as standard error what it wrote there.
pub(super) fn logs(container: &str) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(["logs", container]);
    Ok(String::from_utf8(finish(command)?.stderr)?)
}

/// Runs a command to its successful end, and returns what it prints.
pub(super) fn output_of(command: Command) -> anyhow::Result<String> {
    let shown = shown(&command);
    let Output { status, stdout, stderr } = finish(command)?;
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "`{shown}` failed: {status}\n{stderr}");
    Ok(String::from_utf8(stdout)?.trim_end().to_owned())
}

/// Runs a command to its end, whatever that is.
pub(super) fn finish(mut command: Command) -> anyhow::Result<Output> {
    command.stdin(Stdio::null());
    command.output().with_context(|| format!("cannot start `{}`", shown(&command)))
}
