//! `cargo xtask mutants`: changes the code in one place at a time, and shows which changes no test notices.
//!
//! cargo-mutants makes and tests the mutants, in a copy of the tree. What has been found is kept, so that a run that was
//! interrupted can go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgAction, ArgMatches};
use testkit::find_program;

use crate::command::{cargo, copy_tree, output, shown, target};

/// The lists that cargo-mutants writes, each with this extension. A mutant that hangs has been noticed.
const LISTS: [&str; 4] = ["caught", "timeout", "unviable", MISSED];
const MISSED: &str = "missed";
/// The exit statuses of a run that came to its end: all caught, some missed, some hang.
const COMPLETE: [i32; 3] = [0, 2, 3];
/// In seconds, since many mutants never end.
const TIMEOUT: &str = "300";

/// For the mutants of `servidor` that the first seeds have missed.
const MORE_SEEDS: &str = "300";
/// Nobody reads how a test failed.
const QUICK_FAILURES: [(&str, &str); 2] = [("RUST_BACKTRACE", "0"), ("PROPTEST_MAX_SHRINK_ITERS", "0")];

/// Tests that are run one after the other: the second ones only for what the first have missed.
type Stages = &'static [(&'static str, &'static [&'static str])];

/// The quickest tests first.
fn stages(package: &str) -> Stages {
    const LIBRARY: (&str, &[&str]) = ("its own unit tests", &["--cargo-arg=--lib"]);
    const ALL: (&str, &[&str]) = ("all of its tests", &["--cargo-arg=--tests"]);
    match package {
        "servidor" => &[
            (
                "its unit tests and 30 seeds of the simulation",
                &["--cargo-arg=--lib", "--cargo-arg=--test", "--cargo-arg=simulation"],
            ),
            ALL,
        ],
        "cliente" => &[LIBRARY, ALL],
        "daemon" => &[
            LIBRARY,
            (
                "the tests of both daemons",
                &["--test-package=daemon", "--test-package=servidor,cliente", "--cargo-arg=--tests"],
            ),
        ],
        _ => &[ALL],
    }
}

pub(crate) fn command() -> clap::Command {
    let argument = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let file = argument("file", "PATH").action(ArgAction::Append);
    let missed = Arg::new("missed").long("missed").action(ArgAction::SetTrue);
    clap::Command::new("mutants")
        .about("Change the code in one place at a time: which changes does no test notice?")
        .after_help("Needs cargo-mutants. Takes hours. If it is interrupted, the same command goes on.")
        .arg(argument("package", "NAME").required(true).help("Mutate this package"))
        .arg(argument("shard", "K/N").help("Only the Kth of N parts, counted from 1"))
        .arg(file.help("Only files whose path contains this"))
        .arg(missed.help("Try what was missed again: there may be new tests"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    ensure!(find_program("cargo-mutants").is_some(), "cargo install --locked cargo-mutants");
    let package = matches.get_one::<String>("package").context("it is required")?;
    let folder = target()?.join("mutants");
    let tree = folder.join("tree");
    copy_tree(&tree)?;

    let listed = output(mutants(package, &tree, &["--list", "--colors=never"]))?;
    let all: Vec<String> = listed.lines().map(str::to_owned).collect();
    let files: Vec<&String> = matches.get_many("file").unwrap_or_default().collect();
    let mut chosen = all.clone();
    chosen.retain(|name| files.is_empty() || files.iter().any(|file| path_of(name).contains(file.as_str())));
    if let Some(shard) = matches.get_one::<String>("shard") {
        chosen = part(chosen, shard)?;
    }
    for (stage, (tests, arguments)) in stages(package).iter().enumerate() {
        let mut record = Record::open(folder.join(package).join((stage + 1).to_string()))?;
        if matches.get_flag("missed") {
            record.results.retain(|_, result| result != MISSED);
        }
        let todo: Vec<&String> = chosen.iter().filter(|name| !record.results.contains_key(*name)).collect();
        println!("==> {} of {} mutants of {package} are to be tried with {tests}", todo.len(), chosen.len());
        if !todo.is_empty() {
            record.skip_all_but(&todo, &all)?;
            let mut command = mutants(package, &tree, &["--in-place", "--iterate", "--timeout", TIMEOUT]);
            command.arg("--output").arg(&record.folder).args(*arguments);
            command.env("CARGO_TARGET_DIR", folder.join("build")).envs(QUICK_FAILURES);
            if stage > 0 {
                command.env("SIMULATED_SEEDS", MORE_SEEDS);
            }
            println!("==> {}", shown(&command));
            let status = command.status().context("cannot start cargo-mutants")?;
            let is_complete = status.code().is_some_and(|status| COMPLETE.contains(&status));
            ensure!(is_complete, "cargo-mutants: {status}");
            record.collect()?;
        }
        println!("{}", record.summary(&chosen));
        chosen.retain(|name| record.results.get(name).is_some_and(|result| result == MISSED));
    }
    ensure!(chosen.is_empty(), "no test notices:\n{}", chosen.join("\n"));
    Ok(())
}

/// cargo-mutants for this package of the copied tree.
fn mutants(package: &str, tree: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(&["mutants", "--package", package]);
    command.arg("--dir").arg(tree).args(arguments).current_dir(tree);
    command
}

/// The file of a mutant: its name begins with `PATH:LINE:COLUMN: `.
fn path_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(path, _)| path)
}

/// The `K/N`th part. Neighbours are in different parts, since some files take longer than others.
fn part(mutants: Vec<String>, shard: &str) -> anyhow::Result<Vec<String>> {
    let numbers = shard.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let (k, n): (usize, usize) = numbers.with_context(|| format!("--shard {shard}: no K/N"))?;
    ensure!((1..=n).contains(&k), "--shard {shard}: K is from 1 to N");
    Ok(mutants.into_iter().skip(k - 1).step_by(n).collect())
}

/// The results of one stage for all mutants that have been tried. Those of a changed line have another name.
struct Record {
    folder: PathBuf,
    /// By the mutant's name.
    results: BTreeMap<String, String>,
}

impl Record {
    /// What is known, including what a run that was interrupted has found.
    fn open(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut record = Self { folder, results: BTreeMap::new() };
        for line in lines(&record.file())? {
            let (result, name) = line.split_once('\t').context("a result, a tab, a name")?;
            record.results.insert(name.to_owned(), result.to_owned());
        }
        record.collect()?;
        Ok(record)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("results.tsv")
    }

    /// Where cargo-mutants writes its lists.
    fn lists(&self) -> PathBuf {
        self.folder.join("mutants.out")
    }

    /// Makes `--iterate` skip all other mutants.
    fn skip_all_but(&self, todo: &[&String], all: &[String]) -> anyhow::Result<()> {
        let _ = fs::remove_dir_all(self.lists());
        fs::create_dir_all(self.lists())?;
        let others: Vec<&str> = all.iter().filter(|name| !todo.contains(name)).map(String::as_str).collect();
        Ok(fs::write(self.lists().join("previously_caught.txt"), others.join("\n"))?)
    }

    /// Adds what cargo-mutants has found, and keeps it.
    fn collect(&mut self) -> anyhow::Result<()> {
        for list in LISTS {
            let names = lines(&self.lists().join(format!("{list}.txt")))?;
            self.results.extend(names.into_iter().map(|name| (name, list.to_owned())));
        }
        let lines: Vec<String> =
            self.results.iter().map(|(name, result)| format!("{result}\t{name}\n")).collect();
        Ok(fs::write(self.file(), lines.concat())?)
    }

    /// How many of these mutants have which result.
    fn summary(&self, mutants: &[String]) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in mutants {
            *counts.entry(self.results.get(name).map_or("not tried", String::as_str)).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(result, count)| format!("{count} {result}")).collect();
        counts.join(", ")
    }
}

/// The lines of a file, none if it does not exist.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|line| format!("src/a.rs:{line}:5: replace + with - in f")).collect()
    }

    #[test]
    fn each_mutant_is_in_one_part() {
        let [first, second, third] = ["1/3", "2/3", "3/3"].map(|shard| part(names(7), shard).unwrap());
        assert_eq!([first.len(), second.len(), third.len()], [3, 2, 2]);
        let mut together = [first, second, third].concat();
        together.sort();
        assert_eq!(together, names(7));
        for shard in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(part(names(7), shard).is_err(), "{shard}");
        }
    }

    #[test]
    fn a_run_that_was_interrupted_is_not_lost() {
        let folder = std::env::temp_dir().join(format!("xtask-mutants-{}", std::process::id()));
        let all = names(4);
        let record = Record::open(folder.clone()).unwrap();
        record.skip_all_but(&[&all[1], &all[2]], &all).unwrap();
        let skipped = fs::read_to_string(record.lists().join("previously_caught.txt")).unwrap();
        assert_eq!(skipped, [all[0].as_str(), all[3].as_str()].join("\n"));
        fs::write(record.lists().join("missed.txt"), format!("{}\n", all[2])).unwrap();

        let record = Record::open(folder.clone()).unwrap();
        assert_eq!(record.summary(&all[1..]), "1 missed, 2 not tried");
        record.skip_all_but(&[&all[1]], &all).unwrap();
        fs::write(record.lists().join("caught.txt"), format!("{}\n", all[1])).unwrap();
        let record = Record::open(folder.clone()).unwrap();
        assert_eq!(record.summary(&all), "1 caught, 1 missed, 2 not tried");
        fs::remove_dir_all(folder).unwrap();
    }
}
