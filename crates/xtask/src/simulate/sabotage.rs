//! Deliberate bugs, one patch each: built into a copy of the tree, and found there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::{SEEDS, Side};
use crate::command::{copy_tree, executables, output, run as run_command, sh, target};

/// What a quick run builds: one bug each of reading, accepting and ending in the server, and one of the client's schedule.
const QUICK: [&str; 4] =
    ["deadline-without-read", "accept-error-spins", "byte-lost-in-short-write", "ticks-made-up-for"];
/// Applies the patch `$1` in the folder `$0`, which is no repository, and must not be taken for a part of ours. `$2` is
/// `--apply`, `--check` or `--reverse`.
const PATCH: &str = r#"cd "$0"; GIT_CEILING_DIRECTORIES="$(dirname "$0")" git apply -C1 "$2" "$1""#;

/// The result of one patch.
struct Finding {
    name: String,
    /// The first seed that finds it.
    seed: u64,
    violation: String,
    seconds: f64,
}

pub(super) fn run<'s>(
    sides: impl Iterator<Item = &'s Side>,
    names: &[&str],
    is_quick: bool,
) -> anyhow::Result<()> {
    let tree = target()?.join("sabotage");
    copy_tree(&tree)?;
    let mut patches = Vec::new();
    for side in sides {
        patches.extend(side.list()?.into_iter().map(|patch| (side, patch)));
    }
    for (_, patch) in &patches {
        apply(patch, &tree, "--check")?;
    }
    println!("{} patches apply", patches.len());
    let is_chosen = |name: &str| match names {
        [] if is_quick => QUICK.contains(&name),
        [] => true,
        names => names.contains(&name),
    };
    let chosen: Vec<_> = patches.iter().filter(|(_, patch)| is_chosen(&name_of(patch))).collect();
    ensure!(chosen.len() >= names.len(), "not all of these are there: {names:?}");
    let mut findings = Vec::new();
    let mut missed = Vec::new();
    for (side, patch) in chosen {
        apply(patch, &tree, "--apply")?;
        let found = find(side, patch, &tree)?;
        apply(patch, &tree, "--reverse")?;
        match found {
            Some(finding) => findings.push(finding),
            None => missed.push(name_of(patch)),
        }
    }
    for Finding { name, seed, violation, seconds } in &findings {
        println!("{name:<32} found by {:>4} seeds, {seconds:>5.1} s  {violation}", seed + 1);
    }
    ensure!(missed.is_empty(), "not found within {SEEDS} seeds: {}", missed.join(", "));
    Ok(())
}

impl Side {
    /// The patches of its deliberate bugs.
    fn list(&self) -> anyhow::Result<Vec<PathBuf>> {
        let list = output(sh("ls \"$PWD/$0\"/*.patch", &[self.patches().as_ref()]))?;
        Ok(list.lines().map(PathBuf::from).collect())
    }
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn apply(patch: &Path, tree: &Path, how: &str) -> anyhow::Result<()> {
    run_command(sh(PATCH, &[tree, patch, how.as_ref()]))
}

/// Builds the tree with the bug, and runs seeds until one finds it.
fn find(side: &Side, patch: &Path, tree: &Path) -> anyhow::Result<Option<Finding>> {
    let name = name_of(patch);
    println!("==> {name}");
    let mut build = side.build_command();
    // Not in our target folder: cargo takes packages of the same name, at the same path in a workspace, for the same.
    build.current_dir(tree).arg("--quiet").arg("--target-dir").arg(tree.join("target"));
    // Nobody debugs it, and it is built sooner without.
    build.args(["--config", "profile.dev.debug=false"]);
    let program =
        executables(build, &["simulate"]).with_context(|| format!("{name} does not build"))?.remove(0);
    let started = Instant::now();
    let mut simulate = Command::new(program);
    let output = simulate.args(["seeds", SEEDS]).env("RUST_BACKTRACE", "0").output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(": "));
    let Some((seed, violation)) = line.filter(|_| !output.status.success()) else { return Ok(None) };
    let (seed, violation) = (seed.parse()?, violation.chars().take(90).collect());
    Ok(Some(Finding { name, seed, violation, seconds: started.elapsed().as_secs_f64() }))
}
