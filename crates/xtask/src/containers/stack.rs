//! The compose project under test: shipped as it is, but for a quicker client and ports that the kernel chooses.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::engine::{docker, output_of};
use super::http::{get, sum};
use super::{DEADLINE, wait_for};
use crate::cargo::workspace;

/// Ten rounds a second, so that none of the short absences that are tried goes unnoticed.
const QUICKER: &str = "services: { cliente: { environment: { CLIENTE_INTERVAL: 100ms } } }\n";

/// The project, up. It goes down when this is dropped.
pub(super) struct Stack {
    project: String,
    override_file: PathBuf,
    pub(super) image: String,
    pub(super) servidor: SocketAddr,
    pub(super) cliente: SocketAddr,
}

/// Whether docker-compose, and compose v2 if it is there, can read the file.
pub(super) fn is_valid() -> anyhow::Result<()> {
    let mut readers = vec![vec!["docker-compose"]];
    if docker(["compose", "version"]).is_ok() {
        readers.push(vec!["docker", "compose"]);
    }
    for reader in readers {
        let mut command = Command::new(reader[0]);
        command.args(&reader[1..]).args(["-f", "deploy/docker-compose.yml", "--profile", "observability"]);
        let services = output_of({
            command.args(["config", "--services"]).current_dir(workspace());
            command
        })?;
        for service in ["network", "servidor", "cliente", "prometheus", "grafana"] {
            ensure!(services.lines().any(|line| line == service), "no {service} in {services:?}");
        }
    }
    Ok(())
}

impl Stack {
    pub(super) fn up() -> anyhow::Result<Self> {
        let project = format!("canary-test-{}", std::process::id());
        let override_file = std::env::temp_dir().join(format!("{project}.yml"));
        fs::write(&override_file, QUICKER)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let image = format!("servidor-cliente:{project}");
        let mut stack = Self { project, override_file, image, servidor: nowhere, cliente: nowhere };
        stack.compose(&["up", "--build", "--detach"])?;
        stack.servidor = stack.published("9888/tcp")?;
        stack.cliente = stack.published("9889/tcp")?;
        Ok(stack)
    }

    pub(super) fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", &self.project, "--file", "deploy/docker-compose.yml", "--file"]);
        command.arg(&self.override_file).args(arguments).current_dir(workspace());
        command.envs([
            ("TAG", self.project.as_str()),
            ("REVISION", "test"),
            ("SERVIDOR_METRICS_PORT", "0"),
            ("CLIENTE_METRICS_PORT", "0"),
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

    /// The network that others may join.
    pub(super) fn bridge(&self) -> String {
        format!("{}_default", self.project)
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

    fn published(&self, port: &str) -> anyhow::Result<SocketAddr> {
        let network = self.inspect("network")?;
        let bindings = &network["NetworkSettings"]["Ports"][port];
        ensure!(bindings.as_array().is_some_and(|all| all.len() == 1), "{port} is published as {bindings}");
        let text = |name| bindings[0][name].as_str().with_context(|| format!("no {name} in {bindings}"));
        let address: SocketAddr = format!("{}:{}", text("HostIp")?, text("HostPort")?).parse()?;
        ensure!(address.ip().is_loopback(), "published at {address}, where others can reach it");
        Ok(address)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // After a success there is nothing left; after a failure, that one is what is told.
        let _ = self.down();
        let _ = fs::remove_file(&self.override_file);
    }
}
