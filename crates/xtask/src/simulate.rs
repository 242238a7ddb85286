//! `cargo xtask simulate`: runs the server on a simulated kernel and the client on a simulated network, with many seeds or one; or with
//! deliberate bugs, each of which must be found.

mod sabotage;

use std::process::Command;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::command::{cargo, executables, run as run_command};

/// How many seeds are enough to find every deliberate bug.
const SEEDS: &str = "1000";
/// The simulations.
const SIDES: [Side; 2] = [
    Side { name: "server", package: "servidor", optimized: &["servidor", "protocol", "reactor", "slab"] },
    Side { name: "client", package: "cliente", optimized: &["cliente"] },
];

/// One of the daemons.
struct Side {
    name: &'static str,
    package: &'static str,
    /// What is busy in its simulation, and worth optimizing.
    optimized: &'static [&'static str],
}

pub(crate) fn command() -> clap::Command {
    let number = || value_parser!(u64);
    let seeds = Arg::new("seeds").long("seeds").value_name("N").value_parser(number()).default_value(SEEDS);
    let seed = Arg::new("seed").long("seed").value_name("S").value_parser(number());
    let sabotage = Arg::new("sabotage").long("sabotage").value_name("NAME").num_args(0..);
    let quick = Arg::new("quick").long("quick").action(ArgAction::SetTrue).requires("sabotage");
    let only = Arg::new("only").long("only").value_name("DAEMON").value_parser(SIDES.map(|side| side.name));
    clap::Command::new("simulate")
        .about("Run both daemons in simulated time, with peers and faults of every kind")
        .arg(only.help("Only one of them"))
        .arg(seeds.help("How many seeds"))
        .arg(
            seed.conflicts_with_all(["seeds", "sabotage"])
                .help("Only this seed, with everything that happens"),
        )
        .arg(sabotage.help("Build them with deliberate bugs, one at a time: each must be found"))
        .arg(quick.help("Only check that every patch applies, and find a few of the bugs"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let only = matches.get_one::<String>("only").map(String::as_str);
    let sides = || SIDES.iter().filter(|side| only.is_none_or(|only| only == side.name));
    if let Some(names) = matches.get_many::<String>("sabotage") {
        let names: Vec<&str> = names.map(String::as_str).collect();
        return sabotage::run(sides(), &names, matches.get_flag("quick"));
    }
    for side in sides() {
        let mut simulate = Command::new(executables(side.build_command(), &["simulate"])?.remove(0));
        match matches.get_one::<u64>("seed") {
            Some(seed) => simulate.args(["seed", &seed.to_string()]),
            None => {
                simulate.args(["seeds", &matches.get_one::<u64>("seeds").context("a default")?.to_string()])
            }
        };
        run_command(simulate)?;
    }
    Ok(())
}

impl Side {
    /// Builds the simulation as tests are built, except for what is busy in it.
    fn build_command(&self) -> Command {
        let mut command = cargo(&["build", "--package", self.package, "--features", "simulation"]);
        command.args(["--example", "simulate"]);
        for name in self.optimized {
            command.arg("--config").arg(format!("profile.dev.package.{name}.opt-level=2"));
        }
        command
    }

    /// Where its deliberate bugs are.
    fn patches(&self) -> String {
        format!("crates/{}/sabotage", self.package)
    }
}
