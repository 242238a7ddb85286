//! `cargo xtask test`: everything that must hold before a change is merged, cheapest first.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches};

use crate::cargo::{cargo, find_program, run as run_command, shown};
use crate::{containers, memory, system};

/// Programs that some tests need, and the Debian package that holds each.
const TOOLS: [(&str, &str); 4] =
    [("python3", "python3"), ("promtool", "prometheus"), ("strace", "strace"), ("valgrind", "valgrind")];

pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
}

pub(crate) fn command() -> clap::Command {
    let containers = Arg::new("containers").long("containers").action(ArgAction::SetTrue);
    let system = Arg::new("system").long("system").action(ArgAction::SetTrue).conflicts_with("containers");
    let memory = Arg::new("memory").long("memory").action(ArgAction::SetTrue);
    let memory = memory.conflicts_with_all(["containers", "system"]);
    let all_connections = Arg::new("all-connections").long("all-connections").action(ArgAction::SetTrue);
    clap::Command::new("test")
        .about("Check formatting, lints and docs, and run all tests")
        .arg(containers.help(
            "Instead, try the image, the compose file, the alerts, the dashboard and the pages with Docker",
        ))
        .arg(system.help("Instead, install the packages in throw-away Debians and try all that they promise"))
        .arg(
            memory
                .help("Instead, attack the memory of servidor in a virtual machine, under the shipped unit"),
        )
        .arg(
            all_connections
                .requires("memory")
                .help("With --memory: as many connections as the unit's limits are for, not a part of them"),
        )
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
    check_tools(std::env::var("CI").as_deref() == Ok("true"), |tool| find_program(tool).is_some())?;
    run_steps(steps())
}

fn steps() -> Vec<Step> {
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let clippy = cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    let mut steps = vec![
        Step { name: "formatting", command: cargo(&["fmt", "--all", "--check"]) },
        Step { name: "lints", command: clippy },
        Step { name: "docs", command: docs },
    ];
    if find_program("cargo-deny").is_some() {
        let command = cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]);
        steps.push(Step { name: "dependencies", command });
    } else {
        println!("cargo-deny is not installed: dependencies' licences and sources are not checked");
    }
    steps.push(Step { name: "tests", command: cargo(&["test", "--workspace"]) });
    steps.push(Step { name: "simulation", command: cargo(&["xtask", "simulate"]) });
    if find_program("valgrind").is_some() {
        steps.push(Step { name: "instructions", command: cargo(&["xtask", "instructions"]) });
    }
    steps
}

/// Without a tool, the tests that need it say that they are skipped; in CI nothing may be skipped.
fn check_tools(in_ci: bool, is_installed: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    for (tool, package) in TOOLS {
        if is_installed(tool) {
            continue;
        }
        anyhow::ensure!(!in_ci, "{tool} is missing, and CI skips nothing: apt-get install {package}");
        println!("{tool} is missing: tests that need it are skipped (apt-get install {package})");
    }
    Ok(())
}

/// Runs the steps in order, each announced in one line, up to the first that fails; then tells what each took.
pub(crate) fn run_steps(steps: Vec<Step>) -> anyhow::Result<()> {
    let mut taken: Vec<(&str, Duration)> = Vec::new();
    for Step { name, command } in steps {
        println!("==> {name}: {}", shown(&command));
        let started = Instant::now();
        run_command(command).with_context(|| format!("{name} failed"))?;
        taken.push((name, started.elapsed()));
    }
    println!("\nAll is well:");
    for (name, duration) in taken {
        println!("  {name:<14}{:>7.1} s", duration.as_secs_f64());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_only_told_on_a_desk_and_ends_ci() {
        let without_promtool = |tool: &str| tool != "promtool";
        assert!(check_tools(false, without_promtool).is_ok());
        assert!(check_tools(true, |_| true).is_ok());
        let error = check_tools(true, without_promtool).unwrap_err().to_string();
        assert_eq!(error, "promtool is missing, and CI skips nothing: apt-get install prometheus");
    }

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
