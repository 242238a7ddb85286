//! The commands of this repository, as `cargo xtask COMMAND`: one module per subcommand, never shipped.

mod bench;
mod command;
mod containers;
mod deb;
mod dist;
mod fuzz;
mod instructions;
mod loom;
mod memory;
mod mutants;
mod release;
mod sanitize;
mod simulate;
mod soak;
mod system;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Command};

fn main() -> ExitCode {
    match run(&command().get_matches()) {
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
        .about("Build, run, test and measure servidor and cliente")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            up::command(),
            test::command(),
            bench::command(),
            soak::command(),
            instructions::command(),
        ])
        .subcommands([
            simulate::command(),
            fuzz::command(),
            loom::command(),
            mutants::command(),
            deb::command(),
        ])
        .subcommands([dist::command(), tools::command(), tools::advisories_command()])
        .subcommands([sanitize::command(), memory::inside_command(), up::tether_command()])
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand().context("no subcommand")? {
        ("up", matches) => up::run(matches),
        ("test", matches) => test::run(matches),
        ("bench", matches) => bench::run(matches),
        ("soak", matches) => soak::run(matches),
        ("instructions", matches) => instructions::run(matches),
        ("simulate", matches) => simulate::run(matches),
        ("loom", matches) => loom::run(matches),
        ("mutants", matches) => mutants::run(matches),
        ("sanitize", matches) => sanitize::run(matches),
        ("fuzz", matches) => fuzz::run(matches),
        ("deb", _) => deb::run(),
        ("dist", matches) => dist::run(matches),
        ("tools", _) => tools::run(),
        ("advisories", _) => tools::advisories(),
        (memory::INSIDE, matches) => memory::inside(matches),
        (up::TETHER, matches) => up::tether(matches),
        (name, _) => anyhow::bail!("no such subcommand: {name}"),
    }
}
