//! The file system that machines boot from: the smallest Debian that holds systemd, made once and kept.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cargo::run as run_command;

/// `procps` is what the packages depend on; `iproute2` gives a machine another address, and the rest is systemd's.
const PACKAGES: &str = "usr-is-merged,systemd,systemd-sysv,dbus,iproute2,procps";
/// What waits for terminals, hardware or the clock only delays a machine that lives for a minute.
const MASKED: &str = "console-getty.service getty.target systemd-logind.service systemd-modules-load.service \
                      apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer";

/// The tree, made by mmdebstrap on first use; another recipe makes another tree.
pub(crate) fn ensure(folder: &Path, suite: &str) -> anyhow::Result<PathBuf> {
    let recipe = recipe();
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let tree = folder.join(format!("{suite}-{:016x}", hasher.finish()));
    if tree.is_dir() {
        return Ok(tree);
    }
    fs::create_dir_all(folder)?;
    // Renamed when it is whole, so that a broken-off run leaves nothing that looks like a tree.
    let unfinished = folder.join(format!("unfinished-{suite}-{}", std::process::id()));
    let log = folder.join(format!("{suite}.log"));
    let output = File::create(&log)?;
    let mut command = Command::new("mmdebstrap");
    command.args(recipe).arg(suite).arg(&unfinished).stdout(output.try_clone()?).stderr(output);
    println!("==> the root file system, kept in {}", tree.display());
    run_command(command).with_context(|| format!("see {}", log.display()))?;
    if fs::rename(&unfinished, &tree).is_err() {
        // Another run was faster; its tree is as good.
        fs::remove_dir_all(&unfinished)?;
    }
    Ok(tree)
}

fn recipe() -> Vec<String> {
    [
        "--quiet".to_owned(),
        "--variant=essential".to_owned(),
        "--mode=root".to_owned(),
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr".to_owned(),
        format!("--include={PACKAGES}"),
        "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/* \"$1\"/var/log/*".to_owned(),
        "--customize-hook=echo uninitialized >\"$1\"/etc/machine-id".to_owned(),
        "--customize-hook=echo machine >\"$1\"/etc/hostname; : >\"$1\"/etc/resolv.conf".to_owned(),
        format!("--customize-hook=systemctl --root=\"$1\" mask --quiet {MASKED}"),
    ]
    .into()
}
