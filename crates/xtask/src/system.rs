//! `cargo xtask test --system`: installs the packages in throw-away Debians under a real systemd, and checks what they promise.
//!
//! The checks are shell scripts that run in the machines: `system/checks/`.

mod previous;
pub(crate) mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use testkit::docs;

use crate::command::{missing, run as run_command, sh, skip, target, workspace};
use crate::release::{DAEMONS, Release};
use crate::{deb, dist};

/// Debian 12 with systemd 252, and Debian 13 with systemd 257.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
/// Each group has a machine to itself.
const GROUPS: [&str; 5] = ["tarballs", "running daemons", "hardening", "upgrade from 0.1.0", "packages"];
/// Programs that boot a machine, and the Debian package of each.
const TOOLS: [(&str, &str); 5] = [
    ("mmdebstrap", "mmdebstrap"),
    ("findmnt", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

pub(crate) fn run() -> anyhow::Result<()> {
    if !Path::new("/sys/fs/cgroup").is_dir() {
        return skip("systemd needs Linux with control groups");
    }
    if let Some(reason) = missing(&TOOLS) {
        return skip(&reason);
    }
    let folder = target()?.join("system");
    let trees = SUITES.map(|suite| Ok((suite, rootfs::ensure(&folder, suite)?)));
    let trees = trees.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut packages = previous::ensure(&folder)?;
    let release = Release::build("release")?;
    packages.extend(deb::build(&release)?);
    for name in DAEMONS {
        packages.push(dist::tarball(&release, name, &folder)?);
    }
    let files = lay_out(&folder.join("files"), &packages)?;
    // Most checks wait for something, so the suites are run at the same time.
    let failed: usize = thread::scope(|scope| {
        let suite = |(suite, tree)| {
            let (files, folder) = (&files, &folder);
            scope.spawn(move || run_suite(suite, tree, files, folder))
        };
        let suites: Vec<_> = trees.iter().map(|(name, tree)| suite((*name, tree))).collect();
        suites.into_iter().map(|suite| suite.join().unwrap_or(GROUPS.len())).sum()
    });
    ensure!(failed == 0, "{failed} groups of checks failed");
    println!("\nAll checks of the system passed.");
    Ok(())
}

/// Puts together what the machines are given: scripts, packages, tarballs, and the files that the README shows.
fn lay_out(folder: &Path, packages: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let scripts = "cp crates/xtask/system/{checks,probe}.sh crates/xtask/system/checks/*.sh \"$0\"";
    run_command(sh(scripts, &[folder]))?;
    for package in packages {
        fs::copy(package, folder.join(package.file_name().unwrap_or_default()))?;
    }
    for file in docs::shown_files("README.md", "systemd") {
        let path = folder.join("readme").join(file.heading).join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, file.text)?;
    }
    Ok(folder.to_owned())
}

/// Runs all groups of checks on one Debian; returns how many failed.
fn run_suite(suite: &str, tree: &Path, files: &Path, logs: &Path) -> usize {
    let failed = GROUPS.iter().filter(|group| {
        let started = Instant::now();
        // The machine ends with this process.
        let mut machine = Command::new("setpriv");
        machine.args(["--pdeathsig", "KILL", "bash"]).arg(workspace().join("crates/xtask/system/machine.sh"));
        machine.arg("run").arg(tree).args([suite, group]).args([files, logs]);
        let outcome = run_command(machine);
        let verdict = outcome.as_ref().err().map(|_| ", with failures").unwrap_or_default();
        println!("     {suite}, {group}: {:.1} s{verdict}", started.elapsed().as_secs_f64());
        outcome.is_err()
    });
    failed.count()
}
