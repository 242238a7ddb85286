//! `cargo xtask test --system`: installs both packages in throw-away Debians under a real systemd, and tries all that they promise.

mod checks;
mod machine;
mod previous;
pub(crate) mod rootfs;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::cargo::{find_program, workspace};
use crate::deb;
use checks::Check;
use machine::Machine;

/// Debian 12 with systemd 252, and Debian 13 with systemd 257.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
/// Programs that boot a machine, and the Debian package that holds each.
const TOOLS: [(&str, &str); 5] = [
    ("mmdebstrap", "mmdebstrap"),
    ("findmnt", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

pub(crate) fn run() -> anyhow::Result<()> {
    if let Some(missing) = missing(rustix::process::geteuid().is_root(), |tool| find_program(tool).is_some())
    {
        anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "CI skips nothing, and {missing}");
        println!("skipped: {missing}");
        return Ok(());
    }
    let folder = workspace().join("target/system");
    let trees = SUITES.map(|suite| Ok((suite, rootfs::ensure(&folder, suite)?)));
    let trees = trees.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut packages = previous::ensure(&folder)?;
    packages.extend(deb::build()?);
    // Most checks wait for something, so the suites are tried at the same time.
    let failed = thread::scope(|scope| {
        let started: Vec<_> = trees
            .iter()
            .map(|(suite, root)| scope.spawn(|| run_suite(suite, root, &packages, &folder)))
            .collect();
        let joined =
            started.into_iter().map(|suite| suite.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.sum::<anyhow::Result<usize>>()
    })?;
    anyhow::ensure!(failed == 0, "{failed} checks of the system failed");
    println!("\nThe system is as promised.");
    Ok(())
}

/// Runs all checks on one Debian; tells how many failed.
fn run_suite(suite: &str, root: &Path, packages: &[PathBuf], folder: &Path) -> anyhow::Result<usize> {
    let mut failed = 0;
    for (name, checks) in checks::GROUPS {
        let started = Instant::now();
        let machine = Machine::boot(root, suite, &folder.join(format!("console of {suite}.log")))?;
        for package in packages {
            let file = package.file_name().unwrap_or_default().to_string_lossy();
            machine.write(&format!("/packages/{file}"), fs::read(package)?);
        }
        let version = machine.sh("systemctl --version | head --lines=1");
        println!("==> {suite}, {name}: {version}, up in {:.1} s", started.elapsed().as_secs_f64());
        let failures = run_checks(&machine, suite, checks);
        if failures > 0 {
            let journal = folder.join(format!("journal of {suite}, {name}.log"));
            fs::write(&journal, machine.sh("journalctl --no-pager"))?;
            println!("     the journal is in {}", journal.display());
        }
        failed += failures;
        println!("     {suite}, {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(failed)
}

fn missing(is_root: bool, is_installed: impl Fn(&str) -> bool) -> Option<String> {
    if !Path::new("/sys/fs/cgroup").is_dir() {
        return Some("systemd needs Linux with control groups".to_owned());
    }
    if !is_root {
        return Some("booting a machine needs root".to_owned());
    }
    let missing = TOOLS.iter().find(|(tool, _)| !is_installed(tool));
    missing.map(|(tool, package)| format!("{tool} is missing: apt-get install {package}"))
}

/// Runs all, though some fail, a line each; tells how many failed.
fn run_checks(machine: &Machine, suite: &str, checks: &[(&str, Check)]) -> usize {
    let mut failed = 0;
    for (name, check) in checks {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| check(machine)));
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(seen) if seen.is_empty() => println!("ok   {seconds:>5.1} s  {suite:<8}  {name}"),
            Ok(seen) => println!("ok   {seconds:>5.1} s  {suite:<8}  {name}: {seen}"),
            Err(panic) => {
                println!("FAIL {seconds:>5.1} s  {suite:<8}  {name}: {}", message(&*panic));
                failed += 1;
                // What it left undone must not fail the next.
                checks::undo(machine);
            }
        }
    }
    failed
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_in_one_line() {
        assert_eq!(missing(true, |_| true), None);
        assert_eq!(missing(false, |_| true).unwrap(), "booting a machine needs root");
        let without = missing(true, |tool| tool != "mmdebstrap").unwrap();
        assert_eq!(without, "mmdebstrap is missing: apt-get install mmdebstrap");
    }
}
