//! What people type in this repository, as `cargo xtask COMMAND`: one file a subcommand, never shipped.

mod bench;
mod cargo;
mod containers;
mod deb;
mod instructions;
mod memory;
mod readme;
mod simulate;
mod system;
mod test;
mod up;

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
        .subcommand(up::command())
        .subcommand(test::command())
        .subcommand(bench::command())
        .subcommand(instructions::command())
        .subcommand(simulate::command())
        .subcommand(deb::command())
        .subcommand(memory::inside_command())
        .subcommand(up::tether_command())
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand().context("no subcommand")? {
        ("up", matches) => up::run(matches),
        ("test", matches) => test::run(matches),
        ("bench", matches) => bench::run(matches),
        ("instructions", matches) => instructions::run(matches),
        ("simulate", matches) => simulate::run(matches),
        ("deb", _) => deb::build().map(drop),
        (memory::INSIDE, matches) => memory::inside(matches),
        (up::TETHER, matches) => up::tether(matches),
        (name, _) => anyhow::bail!("no such subcommand: {name}"),
    }
}
