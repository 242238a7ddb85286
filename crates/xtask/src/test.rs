//! `cargo xtask test`: everything that must hold before a change is merged, cheapest first.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches};
use testkit::find_program;

use crate::command::{cargo, run as run_command, shown, skip, workspace};
use crate::{containers, memory, system, tools};

/// Programs that some tests need, and the Debian package of each.
const TOOLS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("python3", "python3"),
    ("promtool", "prometheus"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
    ("groff", "groff"),
    ("faketime", "faketime"),
];

struct Step {
    name: &'static str,
    command: Command,
}

pub(crate) fn command() -> clap::Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let containers = flag("containers").help(
        "Instead, test the image, the compose file, the alerts, the dashboard and the pages with Docker",
    );
    let system =
        flag("system").help("Instead, install the packages in throw-away Debians, and test them there");
    let memory = flag("memory")
        .help("Instead, attack the memory of servidor in a virtual machine, under the shipped unit");
    let all_connections = flag("all-connections")
        .help("With --memory: as many connections as the unit's limits are for, not just some of them");
    clap::Command::new("test")
        .about("Check formatting, lints and docs, and run all tests")
        .arg(containers.conflicts_with_all(["system", "memory"]))
        .arg(system.conflicts_with("memory"))
        .arg(memory)
        .arg(all_connections.requires("memory"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if matches.get_flag("containers") {
        return containers::run();
    }
    if matches.get_flag("system") {
        return system::run();
    }
    if matches.get_flag("memory") {
        return memory::run(matches.get_flag("all-connections"));
    }
    for (tool, package) in TOOLS.into_iter().filter(|(tool, _)| find_program(tool).is_none()) {
        skip(&format!("tests that need {tool}, which is missing: apt-get install {package}"))?;
    }
    run_steps(steps()?)
}

fn steps() -> anyhow::Result<Vec<Step>> {
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let clippy = cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    let mut steps = vec![
        Step { name: "formatting", command: cargo(&["fmt", "--all", "--check"]) },
        Step {
            name: "formatting",
            command: cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
        },
        Step { name: "lints", command: clippy },
        Step { name: "docs", command: docs },
    ];
    let deny = tools::path("cargo-deny")?;
    if deny.is_file() {
        let mut command = Command::new(deny);
        command.args(["--offline", "check", "bans", "licenses", "sources"]).current_dir(workspace());
        steps.push(Step { name: "dependencies", command });
        steps.push(Step { name: "advisories", command: cargo(&["xtask", "advisories"]) });
    } else {
        skip("licences and sources of dependencies: cargo-deny is missing, see cargo xtask tools")?;
    }
    steps.push(Step { name: "tests", command: cargo(&["test", "--workspace"]) });
    steps.push(Step { name: "simulation", command: cargo(&["xtask", "simulate"]) });
    steps.push(Step { name: "threads", command: cargo(&["xtask", "loom"]) });
    if find_program("valgrind").is_some() {
        steps.push(Step { name: "instructions", command: cargo(&["xtask", "instructions"]) });
    }
    Ok(steps)
}

/// Runs the steps in order, each announced in one line, up to the first that fails; then prints how long each took.
fn run_steps(steps: Vec<Step>) -> anyhow::Result<()> {
    let mut durations: Vec<(&str, Duration)> = Vec::new();
    for Step { name, command } in steps {
        println!("==> {name}: {}", shown(&command));
        let started = Instant::now();
        run_command(command).with_context(|| format!("{name} failed"))?;
        durations.push((name, started.elapsed()));
    }
    println!("\nAll tests passed:");
    for (name, duration) in durations {
        println!("  {name:<14}{:>7.1} s", duration.as_secs_f64());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_the_run_and_is_named() {
        let folder = std::env::temp_dir().join(format!("xtask-steps-{}", std::process::id()));
        let mut never = Command::new("mkdir");
        never.arg(&folder);
        let steps = vec![
            Step { name: "first", command: Command::new("true") },
            Step { name: "second", command: Command::new("false") },
            Step { name: "third", command: never },
        ];
        let error = format!("{:#}", run_steps(steps).unwrap_err());
        assert_eq!(error, "second failed: `false` failed: exit status: 1");
        assert!(!folder.exists(), "a step ran after the one that failed");
    }
}
