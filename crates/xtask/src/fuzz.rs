//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, two at a time, and shows what came of each.

mod result;

use std::env::consts::ARCH;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use testkit::find_program;

use self::result::{Outcome, table};
use crate::command::{cargo, run as run_command, shown, skip, target, workspace};

/// The targets, and the length of their longest inputs.
const TARGETS: [(&str, u32); 8] = [
    ("connection", 2048),
    ("conversation", 512),
    ("descriptors", 256),
    ("http", 1024),
    ("names", 1024),
    ("reply", 512),
    ("settings", 1024),
    ("target_file", 512),
];
/// How many run at the same time.
const AT_ONCE: usize = 2;
/// How long each runs, if nothing else is said.
const SECONDS: &str = "60";

/// A built target, and where its inputs are.
struct Target {
    name: &'static str,
    longest: u32,
    program: PathBuf,
    /// The committed inputs.
    corpus: PathBuf,
    /// Inputs that reach more, found by this and former runs.
    grown: PathBuf,
    /// Inputs that fail.
    finds: PathBuf,
    log: PathBuf,
}

pub(crate) fn command() -> clap::Command {
    let number = |name: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64).range(1..))
    };
    let targets = Arg::new("target").value_name("TARGET").action(ArgAction::Append);
    let keep = Arg::new("keep").long("keep").action(ArgAction::SetTrue);
    clap::Command::new("fuzz")
        .about("Run the fuzz targets of fuzz/ by cargo-fuzz, each for a while")
        .after_help("Needs cargo-fuzz and a C++ compiler: cargo install --locked cargo-fuzz")
        .arg(targets.value_parser(TARGETS.map(|(name, _)| name)).help("Only these"))
        .arg(number("seconds").default_value(SECONDS).help("How long each runs"))
        .arg(number("minutes").conflicts_with("seconds").help("The same, in minutes"))
        .arg(keep.help("Then make fuzz/corpus the fewest inputs that reach as much as all that are known"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if find_program("cargo-fuzz").is_none() {
        return skip("cargo-fuzz is missing: cargo install --locked cargo-fuzz");
    }
    let seconds = match matches.get_one::<u64>("minutes") {
        Some(minutes) => minutes * 60,
        None => *matches.get_one::<u64>("seconds").context("a default")?,
    };
    let names: Vec<&String> = matches.get_many("target").into_iter().flatten().collect();
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| *chosen == name);
    let folder = target()?.join("fuzz");
    run_command(build(&folder))?;
    let chosen = TARGETS.into_iter().filter(|(name, _)| is_chosen(name));
    let targets: Vec<Target> = chosen.map(|(name, longest)| Target::new(name, longest, &folder)).collect();
    let outcomes = run_all(&targets, seconds)?;
    print!("{}", table(&outcomes));
    if matches.get_flag("keep") {
        targets.iter().try_for_each(Target::keep)?;
    }
    let finds: Vec<String> = outcomes.iter().flat_map(|(_, outcome)| outcome.finds.clone()).collect();
    ensure!(finds.is_empty(), "{} found; each fails again with:\n{}", finds.len(), finds.join("\n"));
    Ok(())
}

/// One build for all targets. Unsafe code, which an address sanitizer is for, is denied in all crates here but for a line; without it
/// a run is twice as fast. cargo-fuzz turns on the checks of debug builds.
fn build(folder: &Path) -> Command {
    let mut build = cargo(&["fuzz", "build", "--sanitizer", "none", "--codegen-units", "16"]);
    build.args(["--target", &platform(), "--target-dir"]).arg(folder);
    // What cargo-fuzz needs of the compiler is unstable. A revision of its own saves a build after each commit.
    build.env("RUSTC_BOOTSTRAP", "1").env("REVISION", "fuzz");
    build
}

fn platform() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

/// Runs them in their order, some at a time.
fn run_all(targets: &[Target], seconds: u64) -> anyhow::Result<Vec<(&str, Outcome)>> {
    println!("==> {} targets, {seconds} s each, {AT_ONCE} at a time", targets.len());
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> anyhow::Result<Vec<_>> {
        let mut outcomes = Vec::new();
        while let Some(target) = next() {
            outcomes.push((target.name, target.run(seconds)?));
        }
        Ok(outcomes)
    };
    let mut all = Vec::new();
    thread::scope(|scope| {
        let workers = [(); AT_ONCE].map(|()| scope.spawn(work));
        for worker in workers {
            all.extend(worker.join().expect("it does not panic")?);
        }
        anyhow::Ok(())
    })?;
    all.sort_by_key(|(name, _)| *name);
    Ok(all)
}

impl Target {
    fn new(name: &'static str, longest: u32, folder: &Path) -> Self {
        let fuzz = workspace().join("fuzz");
        Self {
            name,
            longest,
            program: folder.join(platform()).join("release").join(name),
            corpus: fuzz.join("corpus").join(name),
            grown: folder.join("corpus").join(name),
            finds: folder.join("finds").join(name),
            log: folder.join(format!("{name}.log")),
        }
    }

    /// libFuzzer writes what it learns to the first folder of inputs, and reads the others.
    fn run(&self, seconds: u64) -> anyhow::Result<Outcome> {
        for folder in [&self.corpus, &self.grown, &self.finds] {
            fs::create_dir_all(folder)?;
        }
        let before = files(&self.finds)?;
        let mut command = self.command();
        command.arg(format!("-max_total_time={seconds}")).args([&self.grown, &self.corpus]);
        let shown = shown(&command);
        command.status().with_context(|| format!("cannot start `{shown}`"))?;
        let mut finds = files(&self.finds)?;
        finds.retain(|find| !before.contains(find));
        let replay = |find: PathBuf| format!("{} {}", self.program.display(), find.display());
        let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let outcome = Outcome::of(&log, finds.into_iter().map(replay).collect());
        println!("{}", outcome.in_one_line(self.name));
        ensure!(outcome.has_run(), "{} did not run to its end: see {}", self.name, self.log.display());
        Ok(outcome)
    }

    /// The program with what holds for each of its runs.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let log = File::create(&self.log).and_then(|log| Ok((log.try_clone()?, log)));
        if let Ok((output, errors)) = log {
            command.stdout(output).stderr(errors);
        }
        command.arg(format!("-artifact_prefix={}/", self.finds.display()));
        command.arg(format!("-max_len={}", self.longest));
        command.args(["-timeout=30", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        let dictionary = workspace().join("fuzz/dictionaries").join(self.name);
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        command
    }

    /// Replaces the committed inputs. How often an edge is passed does not count here: there would be very many inputs.
    fn keep(&self) -> anyhow::Result<()> {
        let kept = self.grown.with_extension("kept");
        let _ = fs::remove_dir_all(&kept);
        fs::create_dir_all(&kept)?;
        let mut merge = self.command();
        run_command({
            merge.args(["-merge=1", "-use_counters=0"]).args([&kept, &self.corpus, &self.grown]);
            merge
        })?;
        fs::remove_dir_all(&self.corpus)?;
        fs::create_dir_all(&self.corpus)?;
        let mut bytes = 0;
        let kept = files(&kept)?;
        for file in &kept {
            let name = file.file_name().context("a file has a name")?;
            bytes += fs::copy(file, self.corpus.join(name))?;
        }
        println!("{:<14}{:>4} inputs, {bytes:>6} bytes", self.name, kept.len());
        Ok(())
    }
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_manifest_is_run() {
        let manifest = fs::read_to_string(workspace().join("fuzz/Cargo.toml")).expect("a manifest");
        let paths = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
        let names: Vec<&str> = paths.filter_map(|path| path.strip_suffix(".rs\"")).collect();
        assert_eq!(names, TARGETS.map(|(name, _)| name));
    }

    #[test]
    fn every_target_has_committed_inputs_and_they_are_few() {
        let mut bytes = 0;
        for (name, _) in TARGETS {
            let inputs = files(&workspace().join("fuzz/corpus").join(name)).expect(name);
            assert!(!inputs.is_empty(), "{name}");
            bytes += inputs.iter().map(|input| input.metadata().expect("a file").len()).sum::<u64>();
        }
        assert!(bytes < 300_000, "{bytes} bytes");
    }
}
