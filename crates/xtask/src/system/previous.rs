//! The packages of version 0.1.0, whose sockets systemd bound: built from their commit, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::cargo::{cargo, run as run_command, workspace};
use crate::deb::{PACKAGES, cargo_deb};

const COMMIT: &str = "51abdbea70a7848e9a913cebe2c514c1cd7ce4c9";

/// The packages in the order of [`PACKAGES`], unoptimized: what is tried is how they are installed, and that is built sooner.
pub(super) fn ensure(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.join("0.1.0");
    let packages: Vec<PathBuf> =
        PACKAGES.iter().map(|name| folder.join(format!("{name}-0.1.0.deb"))).collect();
    if packages.iter().all(|package| package.is_file()) {
        return Ok(packages);
    }
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    unpack(&source)?;
    println!("==> the packages of version 0.1.0, kept in {}", folder.display());
    let in_source = |mut command: Command| {
        // Not beside ours: cargo would take crates of the same name and version for the same.
        command.current_dir(&source).env("CARGO_TARGET_DIR", "target").env("CARGO_PROFILE_DEV_DEBUG", "none");
        run_command(command)
    };
    in_source(cargo(&["build", "--quiet", "--locked", "-p", "servidor", "-p", "cliente"]))?;
    write_placeholders(&source.join("target/deb"))?;
    let tool = cargo_deb(&workspace().join("target"))?;
    for (name, package) in PACKAGES.iter().zip(&packages) {
        let mut command = Command::new(&tool);
        command
            .args(["deb", "--no-build", "--quiet", "--profile", "dev", "--package", name, "--output"])
            .arg(package);
        in_source(command)?;
    }
    fs::remove_dir_all(source)?;
    Ok(packages)
}

fn unpack(folder: &Path) -> anyhow::Result<()> {
    let mut git = Command::new("git");
    git.args(["archive", COMMIT]).current_dir(workspace()).stdout(Stdio::piped());
    let mut git = git.spawn().context("cannot start git")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--directory"]).arg(folder).stdin(git.stdout.take().context("a pipe")?);
    run_command(tar)?;
    anyhow::ensure!(git.wait()?.success(), "the history has no commit {COMMIT}: a shallow clone?");
    Ok(())
}

/// Man pages and completions take long to make, and do not matter here.
fn write_placeholders(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for name in PACKAGES {
        for file in ["NAME.8", "NAME.toml.5", "NAME.bash", "_NAME", "NAME.fish"] {
            fs::write(folder.join(file.replace("NAME", name)), "")?;
        }
    }
    Ok(())
}
