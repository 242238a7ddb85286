//! The compose project under test: shipped as it is, but for a quicker client and addresses that nobody else uses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::compose::Compose;
use super::engine::{docker, output_of};
use super::http::{get, sum};
use super::{DEADLINE, wait_for};
use crate::command::workspace;

/// Ten rounds a second, so that none of the short absences that are tried goes unnoticed.
const QUICKER: &str = "services: { cliente: { environment: { CLIENTE_INTERVAL: 100ms } } }\n";

/// The project, up. It goes down when this is dropped.
pub(super) struct Stack {
    compose: Compose,
    project: String,
    override_file: PathBuf,
    pub(super) image: String,
    server: SocketAddr,
    /// The pages and the metrics.
    pub(super) servidor: SocketAddr,
    pub(super) cliente: SocketAddr,
}

impl Stack {
    pub(super) fn up(compose: Compose) -> anyhow::Result<Self> {
        let project = format!("canary-test-{}", std::process::id());
        let override_file = std::env::temp_dir().join(format!("{project}.yml"));
        fs::write(&override_file, QUICKER)?;
        // All of 127.0.0.0/8 is loopback, and an address of one's own leaves the usual ports to others.
        let [.., high, low] = std::process::id().to_be_bytes();
        let at = |port| SocketAddr::from((Ipv4Addr::new(127, 88, high, low), port));
        let image = format!("servidor-cliente:{project}");
        let (server, servidor, cliente) = (at(8888), at(9888), at(9889));
        let stack = Self { compose, project, override_file, image, server, servidor, cliente };
        stack.compose(&["up", "--build", "--detach"])?;
        Ok(stack)
    }

    pub(super) fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.compose.command();
        command.args(["--project-name", &self.project, "--file", "deploy/docker-compose.yml", "--file"]);
        command.arg(&self.override_file).args(arguments);
        // The builder that every engine has: so each program finds in its cache what the other has built.
        command.env("DOCKER_BUILDKIT", "0");
        command.envs([("TAG", self.project.clone()), ("REVISION", revision()?)]);
        command.envs([
            ("SERVIDOR_LISTEN", self.server.to_string()),
            ("SERVIDOR_METRICS_LISTEN", self.servidor.to_string()),
            ("CLIENTE_TARGET", self.server.to_string()),
            ("CLIENTE_METRICS_LISTEN", self.cliente.to_string()),
        ]);
        output_of(command)
    }

    /// The container of a service.
    pub(super) fn container(&self, service: &str) -> anyhow::Result<String> {
        let id = self.compose(&["ps", "--quiet", service])?;
        ensure!(!id.is_empty(), "{service} has no container");
        Ok(id)
    }

    /// What Docker knows of it.
    pub(super) fn inspect(&self, service: &str) -> anyhow::Result<Value> {
        let text = docker(["inspect", &self.container(service)?])?;
        let mut all: Vec<Value> = serde_json::from_str(&text)?;
        all.pop().context("nothing to inspect")
    }

    /// A counter of the client, all series whose labels contain `label` together.
    pub(super) fn client_count(&self, name: &str, label: &str) -> anyhow::Result<u64> {
        sum(&get(self.cliente, "/metrics")?, name, label)
    }

    /// Waits until the client has had a right reply after this call. It may be just starting.
    pub(super) fn wait_for_another_round(&self) -> anyhow::Result<()> {
        let right = || self.client_count("cliente_numbers_total", "");
        let before = wait_for("the client answers", DEADLINE, || right().map(Some))?;
        wait_for("another right reply", DEADLINE, || Ok((right()? > before).then_some(())))
    }

    pub(super) fn down(&self) -> anyhow::Result<()> {
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "10"])?;
        docker(["image", "rm", "--force", &self.image])?;
        let label = format!("label=com.docker.compose.project={}", self.project);
        for list in [["ps", "--all"], ["network", "ls"], ["volume", "ls"]] {
            let left = docker(list.into_iter().chain(["--quiet", "--filter", &label]))?;
            ensure!(left.is_empty(), "{list:?} still shows {left}");
        }
        Ok(())
    }
}

/// The commit that is checked out here.
pub(super) fn revision() -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(workspace());
    output_of(git)
}

impl Drop for Stack {
    fn drop(&mut self) {
        // After a success there is nothing left; after a failure, that one is what is told.
        let _ = self.down();
        let _ = fs::remove_file(&self.override_file);
    }
}
