//! The Docker engine: the one that answers, or one that is started for the time of the checks.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::find_program;

use super::eventually;
use crate::command::{output, sh};

/// An engine that answers. One that was started here ends with this.
pub(super) struct Engine {
    started: Option<Child>,
}

impl Engine {
    pub(super) fn find_or_start() -> anyhow::Result<Self> {
        let mut engine = Self { started: None };
        if docker("info").is_err() {
            ensure!(
                find_program("dockerd").is_some(),
                "no Docker engine answers, and there is no dockerd to start"
            );
            engine.start()?;
        }
        Ok(engine)
    }

    /// Whether it was started here, and so may be restarted.
    pub(super) fn is_ours(&self) -> bool {
        self.started.is_some()
    }

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
        eventually("the engine answers", || docker("info").map(|_| true))
            .with_context(|| format!("dockerd's log is {}", log.display()))
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

/// Runs `docker` with these words, and returns what it prints.
pub(super) fn docker(words: &str) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(words.split(' '));
    output(command)
}

/// What a template finds in a container or an image.
pub(super) fn inspect(object: &str, template: &str) -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(["inspect", "--format", template, object]);
    output(command)
}

/// What a container has logged: on standard error, as the daemons do.
pub(super) fn logs(container: &str) -> anyhow::Result<String> {
    output(sh("docker logs \"$0\" 2>&1 >/dev/null", &[container.as_ref()]))
}
