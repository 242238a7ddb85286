//! `cargo xtask deb`: the two Debian packages, with their man pages and completions, checked by lintian.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cargo::{build as build_binaries, cargo, find_program, run as run_command, workspace};

pub(crate) const PACKAGES: [&str; 2] = ["servidor", "cliente"];
const CARGO_DEB: &str = "3.8.0";

pub(crate) fn command() -> clap::Command {
    clap::Command::new("deb").about("Build the Debian packages servidor and cliente")
}

/// Builds both packages, and returns their paths, in the order of [`PACKAGES`].
pub(crate) fn build() -> anyhow::Result<Vec<PathBuf>> {
    let programs = build_binaries(&PACKAGES, "release")?;
    let release = programs.first().and_then(|program| program.parent()).context("two programs were built")?;
    let target = release.parent().context("cargo builds in a folder of its target folder")?.to_owned();
    // cargo-deb looks for `target/release/` wherever cargo builds; it compresses nothing that is there.
    let generated = target.join("release/deb");
    let mut manual = Command::new(build_binaries(&["manual"], "dev")?.remove(0));
    manual.arg(&generated);
    run_command(manual)?;
    let mut gzip = Command::new("sh");
    gzip.args(["-c", r#"gzip --best --no-name --force "$0"/*.[58]"#]).arg(&generated);
    run_command(gzip)?;
    let tool = cargo_deb(&target)?;
    let packages = PACKAGES.map(|name| target.join("deb").join(format!("{name}.deb"))).to_vec();
    for (name, package) in PACKAGES.iter().zip(&packages) {
        let mut command = Command::new(&tool);
        command.args(["deb", "--no-build", "--quiet", "--package", name, "--output"]).arg(package);
        command.current_dir(workspace());
        run_command(command)?;
    }
    lint(&packages)?;
    Ok(packages)
}

/// cargo-deb, installed under cargo's target folder where it is not yet.
pub(crate) fn cargo_deb(target: &Path) -> anyhow::Result<PathBuf> {
    if let Some(found) = find_program("cargo-deb") {
        return Ok(found);
    }
    let root = target.join("tools");
    let program = root.join("bin/cargo-deb");
    if !program.is_file() {
        println!("==> cargo-deb {CARGO_DEB}, kept in {}", root.display());
        let mut install =
            cargo(&["install", "--locked", "--quiet", "cargo-deb", "--version", CARGO_DEB, "--root"]);
        install.arg(root);
        run_command(install)?;
    }
    Ok(program)
}

/// An error of lintian ends the build; overrides are in `deploy/debian`, each with its reason.
fn lint(packages: &[PathBuf]) -> anyhow::Result<()> {
    if find_program("lintian").is_none() {
        anyhow::ensure!(
            std::env::var("CI").as_deref() != Ok("true"),
            "lintian is missing, and CI skips nothing"
        );
        println!("lintian is not installed: the packages are not looked over (apt-get install lintian)");
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]).args(packages);
    run_command(lintian)
}
