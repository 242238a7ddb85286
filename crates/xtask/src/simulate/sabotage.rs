//! Deliberate bugs, one patch each: built into a copy of the tree, and found there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::Context as _;

use super::{SEEDS, build_command};
use crate::cargo::{executables, workspace};

/// The copy of the tree. It has a target folder of its own: cargo takes packages of the same name, at the same place in a
/// workspace, for the same ones.
const TREE: &str = "target/sabotage";
/// Where the patches are.
const PATCHES: &str = "crates/servidor/sabotage";
/// What a quick run builds: one bug each of reading, accepting and ending.
const QUICK: [&str; 3] = ["deadline-without-read", "accept-error-spins", "byte-lost-in-short-write"];

/// What came of one patch.
struct Finding {
    name: String,
    /// The first seed that finds it.
    seed: u64,
    violation: String,
    seconds: f64,
}

pub(super) fn run(names: &[&str], is_quick: bool) -> anyhow::Result<()> {
    let tree = workspace().join(TREE);
    let patches = patches()?;
    for patch in &patches {
        copy_tree(&tree)?;
        apply(patch, &tree)?;
    }
    println!("{} patches apply", patches.len());
    let names = if is_quick && names.is_empty() { &QUICK } else { names };
    let is_chosen = |name: &str| names.is_empty() || names.contains(&name);
    let chosen: Vec<&PathBuf> = patches.iter().filter(|patch| is_chosen(&name_of(patch))).collect();
    anyhow::ensure!(chosen.len() >= names.len(), "not all of these are in {PATCHES}: {names:?}");
    let mut findings = Vec::new();
    let mut missed = Vec::new();
    for patch in chosen {
        match find(patch, &tree)? {
            Some(finding) => findings.push(finding),
            None => missed.push(name_of(patch)),
        }
    }
    for Finding { name, seed, violation, seconds } in &findings {
        println!("{name:<32} found by {:>4} seeds, {seconds:>5.1} s  {violation}", seed + 1);
    }
    anyhow::ensure!(missed.is_empty(), "not found within {SEEDS} seeds: {}", missed.join(", "));
    Ok(())
}

fn patches() -> anyhow::Result<Vec<PathBuf>> {
    let folder = workspace().join(PATCHES);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut patches: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    Ok(patches)
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes `tree` what the workspace is now. Files that are the same stay untouched, so that they are not built again.
fn copy_tree(tree: &Path) -> anyhow::Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(workspace());
    let listed = succeeded(list)?.stdout;
    for name in listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = str::from_utf8(name)?;
        let (from, to) = (workspace().join(name), tree.join(name));
        // A file that was removed is listed until that is committed.
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|present| present == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::write(&to, content).with_context(|| to.display().to_string())?;
    }
    Ok(())
}

fn apply(patch: &Path, tree: &Path) -> anyhow::Result<()> {
    let mut git = Command::new("git");
    // The tree is no repository, and must not be taken for a part of ours.
    git.args(["apply", "-C1"])
        .arg(patch)
        .current_dir(tree)
        .env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    succeeded(git).map(drop)
}

/// Builds the bug in, and runs seeds until one finds it.
fn find(patch: &Path, tree: &Path) -> anyhow::Result<Option<Finding>> {
    let name = name_of(patch);
    println!("==> {name}");
    copy_tree(tree)?;
    apply(patch, tree)?;
    let mut build = build_command();
    build.current_dir(tree).arg("--quiet").arg("--target-dir").arg(tree.join("target"));
    // Nobody debugs it, and it is built sooner without.
    build.args(["--config", "profile.dev.debug=false"]);
    let program =
        executables(build, &["simulate"]).with_context(|| format!("{name} does not build"))?.remove(0);
    let started = Instant::now();
    let mut simulate = Command::new(program);
    let output = simulate.args(["seeds", SEEDS]).env("RUST_BACKTRACE", "0").output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(": "));
    let Some((seed, violation)) = line.filter(|_| !output.status.success()) else { return Ok(None) };
    let (seed, violation) = (seed.parse()?, violation.chars().take(90).collect());
    Ok(Some(Finding { name, seed, violation, seconds: started.elapsed().as_secs_f64() }))
}

fn succeeded(mut command: Command) -> anyhow::Result<Output> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(output)
}
