//! `cargo xtask tools`: the subcommands of cargo that tests and releases need, each in the version that they were tested with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::command::{cargo, output, run as run_command, target, workspace};

const TOOLS: [(&str, &str); 5] = [
    ("cargo-auditable", "0.7.7"),
    ("cargo-cyclonedx", "0.5.9"),
    ("cargo-deb", "3.8.0"),
    ("cargo-deny", "0.20.2"),
    ("cargo-generate-rpm", "0.21.1"),
];

pub(crate) fn command() -> clap::Command {
    clap::Command::new("tools").about("Install the subcommands of cargo that tests and releases need")
}

pub(crate) fn run() -> anyhow::Result<()> {
    TOOLS.iter().try_for_each(|(name, _)| ensure(name).map(drop))
}

pub(crate) fn advisories_command() -> clap::Command {
    clap::Command::new("advisories").about("Look for known vulnerabilities in what the daemons are built of")
}

/// Reports when nothing was checked: the database of advisories cannot be had everywhere.
pub(crate) fn advisories() -> anyhow::Result<()> {
    let deny = ensure("cargo-deny")?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&deny);
        command.args(arguments).current_dir(workspace());
        command
    };
    if let Err(error) = output(deny(&["fetch", "db"])) {
        println!("NOT CHECKED for known vulnerabilities: {error:#}");
        return Ok(());
    }
    run_command(deny(&["--offline", "check", "advisories"]))
}

/// The path of a tool, which is installed first where its version is not there yet: in `CARGO_INSTALL_ROOT`, else under
/// cargo's target folder.
pub(crate) fn ensure(name: &str) -> anyhow::Result<PathBuf> {
    let program = path(name)?;
    let (_, version) = TOOLS.iter().find(|tool| tool.0 == name).context("not one of the tools")?;
    if !program.is_file() {
        println!("==> {name} {version}, kept in {}", program.display());
    }
    // Does nothing where this version is installed. Unoptimized: the build takes longer than any use.
    let mut install = cargo(&["install", "--locked", "--quiet", "--debug", "--root"]);
    install.arg(root()?).arg(format!("{name}@{version}"));
    run_command(install)?;
    Ok(program)
}

/// Where a tool is once it is installed.
pub(crate) fn path(name: &str) -> anyhow::Result<PathBuf> {
    Ok(root()?.join("bin").join(name))
}

fn root() -> anyhow::Result<PathBuf> {
    std::env::var_os("CARGO_INSTALL_ROOT").map_or_else(|| Ok(target()?.join("tools")), |root| Ok(root.into()))
}
