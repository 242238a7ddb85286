//! `cargo xtask deb`: the two Debian packages, with their man pages and completions, checked by lintian.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::find_program;

use crate::command::{build as build_binaries, cargo, run as run_command, sh, skip, target, workspace};

pub(crate) const PACKAGES: [&str; 2] = ["servidor", "cliente"];
const CARGO_DEB: &str = "3.8.0";

pub(crate) fn command() -> clap::Command {
    clap::Command::new("deb").about("Build the Debian packages servidor and cliente")
}

/// Builds both packages, and returns their paths, in the order of [`PACKAGES`].
pub(crate) fn build() -> anyhow::Result<Vec<PathBuf>> {
    build_binaries(&PACKAGES, "release")?;
    let target = target()?;
    // cargo-deb looks for `target/release/` wherever cargo builds; it compresses nothing that is there.
    let generated = target.join("release/deb");
    let mut manual = Command::new(build_binaries(&["manual"], "dev")?.remove(0));
    manual.arg(&generated);
    run_command(manual)?;
    run_command(sh(r#"gzip --best --no-name --force "$0"/*.[58]"#, &[&generated]))?;
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
        return skip("lintian is not installed, so the packages are not checked (apt-get install lintian)");
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]).args(packages);
    run_command(lintian)
}
