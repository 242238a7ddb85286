//! `cargo xtask loom`: what threads do to each other, in every order that loom finds.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, value_parser};

use crate::command::{cargo, shown, target};

/// The crates that have models.
const PACKAGES: [&str; 3] = ["daemon", "servidor", "cliente"];

pub(crate) fn command() -> clap::Command {
    let preemptions = Arg::new("preemptions").long("preemptions").value_name("N");
    clap::Command::new("loom")
        .about("Try all orders in which threads can take turns, with loom in place of the standard library")
        .arg(
            preemptions
                .value_parser(value_parser!(u8))
                .help("How many preemptions of threads in large models, in place of two or three"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--lib"]);
    command.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    // Other flags would have cargo build everything again, here and at the next usual build.
    command.arg("--target-dir").arg(target()?.join("loom"));
    // With a target, build scripts and macros are built without the flags.
    command.args(["--target", "host-tuple"]);
    // The threads of a model have small stacks, which code that is not optimized overflows.
    command.args(["--config", "profile.dev.debug=false", "--config", "profile.dev.opt-level=1"]);
    command.args(["--", "models::", "--show-output"]);
    command.env("RUSTFLAGS", "--cfg servidor_loom");
    if let Some(preemptions) = matches.get_one::<u8>("preemptions") {
        command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    }
    println!("==> {}", shown(&command));
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    ensure!(output.status.success(), "a model failed");
    ensure!(printed.contains("models::"), "there are no models");
    Ok(())
}
