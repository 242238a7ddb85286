//! `cargo xtask deb`: the two Debian packages, with their man pages and completions, checked by lintian.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::find_program;

use crate::command::{run as run_command, skip, target};
use crate::release::{DAEMONS, Release};

pub(crate) fn command() -> clap::Command {
    clap::Command::new("deb").about("Build the Debian packages servidor and cliente")
}

pub(crate) fn run() -> anyhow::Result<()> {
    build(&Release::build("release")?).map(drop)
}

/// Makes both packages, and returns their paths, in the order of [`DAEMONS`].
pub(crate) fn build(release: &Release) -> anyhow::Result<Vec<PathBuf>> {
    let folder = target()?.join("deb");
    let packages = DAEMONS.map(|name| folder.join(format!("{name}.deb")));
    for (name, package) in DAEMONS.iter().zip(&packages) {
        make(release, name, package)?;
    }
    lint(&packages)?;
    Ok(packages.to_vec())
}

/// Makes the package of a daemon, as this file or under its own name in this folder.
pub(crate) fn make(release: &Release, name: &str, package: &Path) -> anyhow::Result<()> {
    let arguments = ["deb", "--no-build", "--no-strip", "--quiet", "--package", name];
    let mut deb = release.command("cargo-deb", &arguments)?;
    deb.args(release.is_quick().then_some("--fast")).arg("--output").arg(package);
    run_command(deb)
}

/// An error of lintian ends the build; overrides are in `deploy/debian`, each with its reason.
pub(crate) fn lint(packages: &[PathBuf]) -> anyhow::Result<()> {
    if find_program("lintian").is_none() {
        return skip("lintian is not installed, so the packages are not checked (apt-get install lintian)");
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]).args(packages);
    run_command(lintian)
}
