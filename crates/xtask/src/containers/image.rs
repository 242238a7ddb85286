//! The image by itself: small, without root, without a shell, and with few needs.

use std::fs;
use std::net::SocketAddr;

use anyhow::ensure;
use serde_json::Value;
use testkit::Peer;

use super::docker::{docker, inspect, logs};
use super::stack::{Stack, revision};
use super::{check, eventually, same};
use crate::command::{output, sh};

/// A few megabytes; more needs a reason.
const LARGEST: u64 = 12_000_000;
/// All that the image holds. The rest of what a container shows is put there by Docker.
const FILES: &str = "LICENSE-APACHE\nLICENSE-MIT\nusr/bin/cliente\nusr/bin/servidor";

/// Something of Docker's that is removed in the end, by these words and its name.
struct Temporary(&'static str, String);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = docker(&format!("{} {}", self.0, self.1));
    }
}

/// A container that is started, or only created, by these words.
fn container(words: &str) -> anyhow::Result<Temporary> {
    Ok(Temporary("rm --force", docker(words)?))
}

pub(super) fn check_image(stack: &Stack) -> anyhow::Result<()> {
    let image = stack.image.as_str();
    let size: u64 = inspect(image, "{{.Size}}")?.parse()?;
    check(&format!("the image is small: {}.{} MB", size / 1_000_000, size / 100_000 % 10), || {
        ensure!(size < LARGEST, "{size} bytes");
        Ok(())
    })?;
    check("it runs as a number and says what it is", || says_what_it_is(image))?;
    check("it holds the programs, the licences, and no shell", || {
        let created = container(&format!("create {image}"))?;
        let list = "docker export \"$0\" | tar -t | grep -Ev '/$|^(.dockerenv|dev/|etc/|proc/|sys/)' | sort";
        same(output(sh(list, &[created.1.as_ref()]))?.as_str(), FILES)
    })?;
    check("it runs --read-only --cap-drop ALL --network none", || {
        let words = format!("run --detach --read-only --cap-drop ALL --network none {image}");
        let container = container(&words)?;
        let confined = &container.1;
        eventually("it is ready", || {
            docker(&format!("exec {confined} servidor --check-health")).map(|_| true)
        })?;
        docker(&format!("exec {confined} cliente --count 3 --interval 100ms"))?;
        docker(&format!("stop {confined}"))?;
        same(inspect(confined, "{{.State.ExitCode}}")?, "0")
    })?;
    check("in a clone, a build finds the revision by itself", finds_the_revision)?;
    let network = format!("canary-test-{}", std::process::id());
    let _network =
        Temporary("network rm", docker(&format!("network create {network}")).map(|_| network.clone())?);
    let run = |options: &str| {
        let fixed = "--network-alias=servidor --publish=127.0.0.1::8888";
        container(&format!("run --detach --network {network} {fixed} {options}{image}"))
    };
    // What a client on the network reports of one round, whether that succeeds or not.
    let client = format!(
        "docker run --rm --network {network} {image} cliente --count 1 --target servidor:8888 || true"
    );
    let report = || output(sh(&client, &[]));
    check("on a bridge, it says why published ports lead nowhere", || {
        let server = run("")?;
        eventually("the log says so", || Ok(logs(&server.1)?.contains("listening on loopback only")))?;
        // Refused and not unknown: names are resolved, though the image is static.
        let report = report()?;
        ensure!(report.contains("refused"), "{report}");
        Ok(())
    })?;
    check("it is reached there when it listens and allows as the log says", || {
        let server = run("--env=SERVIDOR_LISTEN=0.0.0.0:8888 --env=SERVIDOR_ALLOW=0.0.0.0/0 ")?;
        eventually("a right reply", || Ok(report()?.contains("1 right")))?;
        let published: SocketAddr = docker(&format!("port {} 8888/tcp", server.1))?.parse()?;
        same(Peer::connect(published).ask("4\n"), "PAR\n")
    })
}

fn says_what_it_is(image: &str) -> anyhow::Result<()> {
    same(inspect(image, "{{.Config.User}}")?, "65532:65532")?;
    let labels: Value = serde_json::from_str(&inspect(image, "{{json .Config.Labels}}")?)?;
    let label = |name| labels[format!("org.opencontainers.image.{name}")].as_str().unwrap_or_default();
    for name in ["title", "description", "licenses", "source"] {
        ensure!(!label(name).is_empty(), "{name} is empty");
    }
    let revision = revision()?;
    same(label("revision"), revision.as_str())?;
    let version = docker(&format!("run --rm {image} servidor --version"))?;
    same(version, format!("servidor {} ({})", label("version"), &revision[..12]))
}

/// The workspace may be a worktree, in which `.git` is no folder: so this is tested in a clone.
fn finds_the_revision() -> anyhow::Result<()> {
    const BUILD: &str = r#"
        git clone --quiet --depth=1 "file://$PWD" "$0"
        cp Dockerfile .dockerignore "$0"
        docker build --quiet --target sources --tag "$1" "$0" >/dev/null
        docker run --rm "$1" cat /revision"#;
    let name = format!("canary-sources-{}", std::process::id());
    let clone = std::env::temp_dir().join(&name);
    let found = output(sh(BUILD, &[&clone, name.as_ref()]));
    drop(Temporary("image rm --force", name));
    let _ = fs::remove_dir_all(&clone);
    same(found?, revision()?)
}
