//! `cargo xtask simulate`: runs the server on a simulated kernel, with many seeds or one; or with deliberate bugs, each of which
//! must be found.

mod sabotage;

use std::process::Command;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::command::{cargo, executables, run as run_command};

/// How many seeds are enough to find every deliberate bug.
const SEEDS: &str = "1000";
/// What is busy in a simulation, and worth optimizing.
const OPTIMIZED: [&str; 4] = ["servidor", "protocol", "reactor", "slab"];

pub(crate) fn command() -> clap::Command {
    let number = || value_parser!(u64);
    let seeds = Arg::new("seeds").long("seeds").value_name("N").value_parser(number()).default_value(SEEDS);
    let seed = Arg::new("seed").long("seed").value_name("S").value_parser(number());
    let sabotage = Arg::new("sabotage").long("sabotage").value_name("NAME").num_args(0..);
    let quick = Arg::new("quick").long("quick").action(ArgAction::SetTrue).requires("sabotage");
    clap::Command::new("simulate")
        .about("Run the server on a simulated kernel, in simulated time, with peers and faults of every kind")
        .arg(seeds.help("How many seeds"))
        .arg(
            seed.conflicts_with_all(["seeds", "sabotage"])
                .help("Only this seed, with everything that happens"),
        )
        .arg(sabotage.help("Build the server with deliberate bugs, one at a time: each must be found"))
        .arg(quick.help("Only check that every patch applies, and find three of the bugs"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if let Some(names) = matches.get_many::<String>("sabotage") {
        let names: Vec<&str> = names.map(String::as_str).collect();
        return sabotage::run(&names, matches.get_flag("quick"));
    }
    let mut simulate = Command::new(executables(build_command(), &["simulate"])?.remove(0));
    match matches.get_one::<u64>("seed") {
        Some(seed) => simulate.args(["seed", &seed.to_string()]),
        None => simulate.args(["seeds", &matches.get_one::<u64>("seeds").context("a default")?.to_string()]),
    };
    run_command(simulate)
}

/// Builds the simulation as tests are built, except for what is busy in it.
fn build_command() -> Command {
    let mut command = cargo(&["build", "--package", "servidor", "--features", "simulation"]);
    command.args(["--example", "simulate"]);
    for name in OPTIMIZED {
        command.arg("--config").arg(format!("profile.dev.package.{name}.opt-level=2"));
    }
    command
}
