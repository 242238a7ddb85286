//! What people type in this repository, as `cargo xtask COMMAND`: one file a subcommand, never shipped.

mod cargo;
mod test;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Command};

fn main() -> ExitCode {
    let matches = command().get_matches();
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("The workshop of servidor and cliente")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(test::command())
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand().context("no subcommand")? {
        ("test", matches) => test::run(matches),
        (name, _) => anyhow::bail!("no such subcommand: {name}"),
    }
}
