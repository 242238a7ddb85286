//! `cargo xtask instructions`: counts the instructions of fixed work. Unlike times, they are the same in each run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches};

use crate::command::{cargo, executables, workspace};

/// The accepted counts, one per line: name, tab, count.
const ACCEPTED: &str = "crates/protocol/benches/instructions.tsv";
/// How much more is still accepted, in percent.
const TOLERANCE: u64 = 5;

type Counts = BTreeMap<String, u64>;

pub(crate) fn command() -> clap::Command {
    let accept = Arg::new("accept").long("accept").action(ArgAction::SetTrue);
    clap::Command::new("instructions")
        .about("Count the instructions of decoding, answering and judging, and compare them with what is accepted")
        .after_help("Needs valgrind. Counts are of the pinned toolchain, on x86-64 with AVX2.")
        .arg(accept.help("Accept the counts: write them to the file that is compared with"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let path = workspace().join(ACCEPTED);
    let accepted = parse(&fs::read_to_string(&path).with_context(|| path.display().to_string())?)?;
    let mut build = cargo(&["build", "--release", "-p", "protocol", "--bench", "instructions"]);
    // Flags that are set here would change the counts.
    build.env_remove("RUSTFLAGS");
    let program = executables(build, &["instructions"])?.remove(0);
    let counts = accepted.keys().map(|work| Ok((work.clone(), count(&program, work)?)));
    let counts = counts.collect::<anyhow::Result<Counts>>()?;
    print!("{}", table(&counts, &accepted));
    if matches.get_flag("accept") {
        let lines: Vec<String> = counts.iter().map(|(work, count)| format!("{work}\t{count}\n")).collect();
        return Ok(fs::write(&path, lines.concat())?);
    }
    let grown = grown(&counts, &accepted);
    anyhow::ensure!(
        grown.is_empty(),
        "more than {TOLERANCE} % above what is accepted: {}; if it must be so: cargo xtask instructions --accept",
        grown.join(", ")
    );
    Ok(())
}

/// The instructions of the function called `work`, whatever happens around it.
fn count(program: &Path, work: &str) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--toggle-collect=instructions::{work}")).arg(program).arg(work);
    // The size of the environment moves the stack, and the C library takes hints from it.
    let output =
        valgrind.env_clear().env("PATH", "/usr/bin:/bin").output().context("cannot start valgrind")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "valgrind failed:\n{errors}");
    let collected = errors.lines().find_map(|line| line.split_once("Collected : "));
    let count: u64 = collected.with_context(|| format!("no count in:\n{errors}"))?.1.trim().parse()?;
    anyhow::ensure!(count > 0, "no function is called instructions::{work}");
    Ok(count)
}

fn parse(text: &str) -> anyhow::Result<Counts> {
    let line = |line: &str| {
        let (work, count) = line.split_once('\t')?;
        Some((work.to_owned(), count.parse().ok()?))
    };
    text.lines()
        .map(|text| line(text).with_context(|| format!("{ACCEPTED}: no name, tab, count: {text}")))
        .collect()
}

fn table(counts: &Counts, accepted: &Counts) -> String {
    let mut text = String::new();
    for (work, count) in counts {
        let accepted = accepted.get(work).copied().unwrap_or_default();
        let _ = writeln!(text, "{work:<20}{count:>12}, accepted {accepted:>12}");
    }
    text
}

fn grown(counts: &Counts, accepted: &Counts) -> Vec<String> {
    let most = |work: &String| accepted.get(work).map_or(0, |count| count * (100 + TOLERANCE) / 100);
    counts.iter().filter(|(work, count)| **count > most(work)).map(|(work, _)| work.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_beyond_the_tolerance_only() {
        let accepted = parse("a\t1000\nb\t1000\nc\t1000\n").expect("three lines");
        let counts = parse("a\t1050\nb\t1051\nc\t10\n").expect("three lines");
        assert_eq!(grown(&counts, &accepted), ["b"]);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        assert!(parse("a 1000\n").is_err());
        assert!(parse("a\tmany\n").is_err());
    }
}
