//! The image by itself: small, nobody's, without a shell, and content with next to nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::engine::{docker, finish, logs, output_of};
use super::stack::{Stack, revision};
use super::{Checks, DEADLINE, wait_for};
use crate::command::workspace;

/// A few megabytes; what is over it wants a reason.
const LARGEST: u64 = 12_000_000;
/// All that the image holds. The rest of what a container shows is put there by Docker.
const FILES: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "usr/bin/cliente", "usr/bin/servidor"];

/// A container that is removed in the end.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = docker(["rm", "--force", &self.0]);
    }
}

pub(super) fn check(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    let image = stack.image.as_str();
    let inspected: Vec<Value> = serde_json::from_str(&docker(["image", "inspect", image])?)?;
    let inspected = inspected.first().context("the image is there")?;
    let size = inspected["Size"].as_u64().context("the image has a size")?;
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = size as f64 / 1e6;
    checks.run(&format!("the image is small: {megabytes:.1} MB"), || {
        ensure!(size < LARGEST, "{size} bytes");
        Ok(())
    })?;
    checks.run("it runs as a number and says what it is", || {
        let config = &inspected["Config"];
        ensure!(config["User"] == "65532:65532", "the user is {}", config["User"]);
        let label =
            |name| config["Labels"][format!("org.opencontainers.image.{name}")].as_str().unwrap_or("");
        for name in ["title", "description", "licenses", "source"] {
            ensure!(!label(name).is_empty(), "{name} is empty");
        }
        let revision = revision()?;
        ensure!(label("revision") == revision, "the revision is {:?}, not {revision}", label("revision"));
        let version = docker(["run", "--rm", image, "servidor", "--version"])?;
        let expected = format!("servidor {} ({})", label("version"), &revision[..12]);
        ensure!(version == expected, "it says {version:?}, and its labels {expected:?}");
        Ok(())
    })?;
    checks.run("it holds the programs, the licences, and no shell", || holds_nothing_else(image))?;
    checks.run("it runs --read-only --cap-drop ALL --network none", || needs_nothing(image))?;
    checks.run("in a clone, a build finds the revision by itself", finds_the_revision)?;
    let network = Network::create()?;
    checks.run("on a bridge, it says why published ports lead nowhere", || {
        let server = network.run(image, &[])?;
        wait_for("the log says so", DEADLINE, || {
            Ok(logs(&server.0)?.contains("listening on loopback only").then_some(()))
        })?;
        // Refused and not unknown: names are resolved, though the image is static.
        let report = network.ask(image)?;
        ensure!(report.contains("refused"), "{report}");
        Ok(())
    })?;
    checks.run("it is reached there when it listens and allows as the log says", || {
        let open = ["--env=SERVIDOR_LISTEN=0.0.0.0:8888", "--env=SERVIDOR_ALLOW=0.0.0.0/0"];
        let server = network.run(image, &open)?;
        wait_for("a right reply", DEADLINE, || Ok(network.ask(image)?.contains("1 right").then_some(())))?;
        let published: SocketAddr = docker(["port", &server.0, "8888/tcp"])?.parse()?;
        let mut stream = TcpStream::connect(published)?;
        stream.write_all(b"4\n")?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply)?;
        ensure!(reply == *b"PAR\n", "the published port replies {reply:?}");
        Ok(())
    })
}

/// The workspace may be a worktree, in which `.git` is no folder: so it is tried in a clone.
fn finds_the_revision() -> anyhow::Result<()> {
    let name = format!("canary-sources-{}", std::process::id());
    let clone = std::env::temp_dir().join(&name);
    let found = (|| {
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--depth=1"]).arg(format!("file://{}", workspace().display()));
        git.arg(&clone);
        output_of(git)?;
        for file in ["Dockerfile", ".dockerignore"] {
            fs::copy(workspace().join(file), clone.join(file))?;
        }
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--target", "sources", "--tag", &name]).arg(&clone);
        output_of(build)?;
        docker(["run", "--rm", &name, "cat", "/revision"])
    })();
    // Of these, whatever was made goes.
    let _ = docker(["image", "rm", "--force", &name]);
    let _ = fs::remove_dir_all(&clone);
    let (found, revision) = (found?, revision()?);
    ensure!(found == revision, "it finds {found:?}, not {revision}");
    Ok(())
}

/// A bridge with Docker's name server. It is removed in the end.
struct Network(String);

impl Network {
    fn create() -> anyhow::Result<Self> {
        let network = Self(format!("canary-test-{}", std::process::id()));
        docker(["network", "create", &network.0])?;
        Ok(network)
    }

    /// The server in a container of its own, known to others as `servidor`, its port published.
    fn run(&self, image: &str, options: &[&str]) -> anyhow::Result<Container> {
        let fixed = ["run", "--detach", "--network", &self.0, "--network-alias=servidor"];
        let publish = ["--publish=127.0.0.1::8888"];
        let all = fixed.iter().chain(&publish).chain(options).copied().chain([image]);
        Ok(Container(docker(all)?))
    }

    /// What a client on the network reports of one round.
    fn ask(&self, image: &str) -> anyhow::Result<String> {
        let mut asking = Command::new("docker");
        asking.args(["run", "--rm", "--network", &self.0, image]);
        asking.args(["cliente", "--count", "1", "--target", "servidor:8888"]);
        Ok(String::from_utf8(finish(asking)?.stdout)?)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // It is there, unless the engine is not.
        let _ = docker(["network", "rm", &self.0]);
    }
}

fn holds_nothing_else(image: &str) -> anyhow::Result<()> {
    let container = Container(docker(["create", image])?);
    let mut listing = Command::new("sh");
    listing.args(["-c", "docker export \"$0\" | tar -t", &container.0]);
    let listing = output_of(listing)?;
    let added_by_docker = [".dockerenv", "dev/", "etc/", "proc/", "sys/"];
    let mut files: Vec<&str> = listing
        .lines()
        .filter(|path| !path.ends_with('/') && !added_by_docker.iter().any(|added| path.starts_with(added)))
        .collect();
    files.sort_unstable();
    ensure!(files == FILES, "it holds {files:?}");
    Ok(())
}

fn needs_nothing(image: &str) -> anyhow::Result<()> {
    let confined = ["run", "--detach", "--read-only", "--cap-drop", "ALL", "--network", "none", image];
    let container = Container(docker(confined)?);
    let inside = |command: &[&str]| docker(["exec", &container.0].into_iter().chain(command.iter().copied()));
    wait_for("it is ready", DEADLINE, || inside(&["servidor", "--check-health"]).map(Some))?;
    inside(&["cliente", "--count", "3", "--interval", "100ms"])?;
    docker(["stop", &container.0])?;
    let status = docker(["inspect", "--format", "{{.State.ExitCode}}", &container.0])?;
    ensure!(status == "0", "it stopped with status {status}");
    Ok(())
}
