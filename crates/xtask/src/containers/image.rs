//! The image by itself: small, nobody's, without a shell, and content with next to nothing.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::engine::{docker, finish, output_of};
use super::stack::Stack;
use super::{Checks, DEADLINE, wait_for};

/// A few megabytes; what is over it wants a reason.
const LARGEST: u64 = 12_000_000;
/// All that the image holds. The rest of what a container shows is put there by Docker.
const FILES: [&str; 5] =
    ["LICENSE-APACHE", "LICENSE-MIT", "usr/bin/cliente", "usr/bin/pause", "usr/bin/servidor"];

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
        for label in ["title", "description", "licenses", "revision"] {
            let value = &config["Labels"][format!("org.opencontainers.image.{label}")];
            ensure!(value.as_str().is_some_and(|value| !value.is_empty()), "{label} is {value}");
        }
        let version = docker(["run", "--rm", image, "servidor", "--version"])?;
        ensure!(version.ends_with("(test)"), "the revision is not in {version:?}");
        Ok(())
    })?;
    checks.run("it holds the programs, the licences, and no shell", || holds_nothing_else(image))?;
    checks.run("it runs --read-only --cap-drop ALL --network none", || needs_nothing(image))?;
    checks.run("names are resolved, though the image is static", || {
        // Nothing listens there: that it is refused, and not unknown, is the proof.
        let mut asking = Command::new("docker");
        asking.args(["run", "--rm", "--network", &stack.bridge(), image]);
        asking.args(["cliente", "--count", "1", "--target", "network:8888"]);
        let report = String::from_utf8(finish(asking)?.stdout)?;
        ensure!(report.contains("refused"), "{report}");
        Ok(())
    })
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
