//! The two programs that read compose files, and what each makes of ours.

use std::process::Command;

use anyhow::ensure;

use super::engine::{docker, output_of};
use crate::command::workspace;
use testkit::find_program;

/// Where everything listens unless told otherwise.
const DEFAULTS: [&str; 7] = [
    "SERVIDOR_LISTEN: 127.0.0.1:8888",
    "SERVIDOR_METRICS_LISTEN: 127.0.0.1:9888",
    "CLIENTE_TARGET: 127.0.0.1:8888",
    "CLIENTE_METRICS_LISTEN: 127.0.0.1:9889",
    "--web.listen-address=127.0.0.1:9090",
    "PROMETHEUS_LISTEN: 127.0.0.1:9090",
    "GF_SERVER_HTTP_ADDR: 127.0.0.1",
];

/// A program that reads compose files.
#[derive(Clone, Copy)]
pub(super) enum Compose {
    /// The one in Python, `docker-compose` 1.29.
    Python,
    /// The engine's plugin, `docker compose`.
    Plugin,
}

impl Compose {
    /// Those that are installed.
    pub(super) fn installed() -> Vec<Self> {
        let python = find_program("docker-compose").map(|_| Self::Python);
        let plugin = docker(["compose", "version"]).is_ok().then_some(Self::Plugin);
        python.into_iter().chain(plugin).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "docker-compose",
            Self::Plugin => "docker compose",
        }
    }

    /// To be called at the root of the workspace.
    pub(super) fn command(self) -> Command {
        let mut words = self.name().split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(workspace());
        command
    }

    /// Whether it can read the file, with both daemons, Prometheus and Grafana on the host's loopback.
    pub(super) fn accepts_the_file(self) -> anyhow::Result<()> {
        let mut command = self.command();
        command.args(["--file", "deploy/docker-compose.yml", "--profile", "observability", "config"]);
        let config = output_of(command)?;
        let count = |text| config.matches(text).count();
        // All that runs an image: the plugin shows the part that the daemons share as well.
        let all = count(" image: ");
        ensure!(
            all >= 4 && count("network_mode: host") == all,
            "not all are on the host's network: {config}"
        );
        ensure!(count("ports:") == 0 && count("0.0.0.0") == 0, "more than loopback: {config}");
        for address in DEFAULTS {
            ensure!(count(address) == 1, "not {address}: {config}");
        }
        Ok(())
    }
}
