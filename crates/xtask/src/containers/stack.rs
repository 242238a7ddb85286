//! The compose project under test: as shipped, but for a quicker client and addresses that nobody else uses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;
use testkit::{Metrics, find_program, get};

use super::docker::docker;
use super::{eventually, same};
use crate::command::{output, sh, workspace};

/// Ten rounds per second, so that none of the short outages goes unnoticed.
const QUICKER: &str = "services: { cliente: { environment: { CLIENTE_INTERVAL: 100ms } } }\n";
/// Where everything listens by default.
const DEFAULTS: [&str; 7] = [
    "SERVIDOR_LISTEN: 127.0.0.1:8888",
    "SERVIDOR_METRICS_LISTEN: 127.0.0.1:9888",
    "CLIENTE_TARGET: 127.0.0.1:8888",
    "CLIENTE_METRICS_LISTEN: 127.0.0.1:9889",
    "--web.listen-address=127.0.0.1:9090",
    "PROMETHEUS_LISTEN: 127.0.0.1:9090",
    "GF_SERVER_HTTP_ADDR: 127.0.0.1",
];

/// A program that reads compose files: `docker-compose` 1.29, which is in Python, or the engine's plugin, `docker compose`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Compose(pub(super) &'static str);

impl Compose {
    pub(super) fn installed() -> Vec<Self> {
        let python = find_program("docker-compose").map(|_| Self("docker-compose"));
        let plugin = docker("compose version").is_ok().then_some(Self("docker compose"));
        python.into_iter().chain(plugin).collect()
    }

    fn command(self, words: &str) -> Command {
        let mut all = self.0.split(' ').chain(words.split(' '));
        let mut command = Command::new(all.next().unwrap_or_default());
        command.args(all).current_dir(workspace());
        command
    }

    /// Whether it can read the file, with both daemons, Prometheus and Grafana on the host's loopback.
    pub(super) fn accepts_the_file(self) -> anyhow::Result<()> {
        let config = "--file deploy/docker-compose.yml --profile observability config";
        let config = output(self.command(config))?;
        let count = |text| config.matches(text).count();
        // Each that runs an image: the plugin shows the part that the daemons share as well.
        let all = count(" image: ");
        ensure!(all >= 4, "only {all} services: {config}");
        ensure!(count("network_mode: host") == all, "not all are on the host's network: {config}");
        ensure!(count("ports:") == 0 && count("0.0.0.0") == 0, "more than loopback: {config}");
        for address in DEFAULTS {
            ensure!(count(address) == 1, "not {address}: {config}");
        }
        Ok(())
    }
}

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
        // All of 127.0.0.0/8 is loopback: this address leaves the usual ports to others.
        let [.., high, low] = std::process::id().to_be_bytes();
        let at = |port| SocketAddr::from((Ipv4Addr::new(127, 88, high, low), port));
        let image = format!("servidor-cliente:{project}");
        let (server, servidor, cliente) = (at(8888), at(9888), at(9889));
        let stack = Self { compose, project, override_file, image, server, servidor, cliente };
        stack.compose("up --build --detach")?;
        Ok(stack)
    }

    pub(super) fn compose(&self, words: &str) -> anyhow::Result<String> {
        let (project, file) = (&self.project, self.override_file.display());
        let files =
            format!("--project-name {project} --file deploy/docker-compose.yml --file {file} {words}");
        let mut command = self.compose.command(&files);
        // The builder that every engine has: so each program finds in its cache what the other has built.
        command.env("DOCKER_BUILDKIT", "0");
        command.envs([("TAG", self.project.clone()), ("REVISION", revision()?)]);
        command.envs([
            ("SERVIDOR_LISTEN", self.server.to_string()),
            ("SERVIDOR_METRICS_LISTEN", self.servidor.to_string()),
            ("CLIENTE_TARGET", self.server.to_string()),
            ("CLIENTE_METRICS_LISTEN", self.cliente.to_string()),
        ]);
        output(command)
    }

    /// The container of a service.
    pub(super) fn container(&self, service: &str) -> anyhow::Result<String> {
        let id = self.compose(&format!("ps --quiet {service}"))?;
        ensure!(!id.is_empty(), "{service} has no container");
        Ok(id)
    }

    /// A counter of the client: all series with these labels together.
    pub(super) fn client_count(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<u64> {
        Ok(Metrics::parse(get(self.cliente, "/metrics")?).sum(name, labels))
    }

    /// Waits until the client has had a right reply after this call. It may be just starting.
    pub(super) fn wait_for_another_round(&self) -> anyhow::Result<()> {
        let mut before = None;
        eventually("another right reply", || {
            let right = self.client_count("cliente_numbers_total", &[])?;
            Ok(right > *before.get_or_insert(right))
        })
    }

    pub(super) fn down(&self) -> anyhow::Result<()> {
        self.compose("down --volumes --remove-orphans --timeout 10")?;
        docker(&format!("image rm --force {}", self.image))?;
        for list in ["ps --all", "network ls", "volume ls"] {
            let filter = format!("label=com.docker.compose.project={}", self.project);
            same(docker(&format!("{list} --quiet --filter {filter}"))?, "")?;
        }
        Ok(())
    }
}

/// The commit that is checked out here.
pub(super) fn revision() -> anyhow::Result<String> {
    output(sh("git rev-parse HEAD", &[]))
}

impl Drop for Stack {
    fn drop(&mut self) {
        // After a success there is nothing left; after a failure, that one is reported.
        let _ = self.down();
        let _ = fs::remove_file(&self.override_file);
    }
}
