//! The file system that machines boot from: the smallest Debian that holds systemd, made once and kept.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::command::{run, sh};

/// `procps` is what the packages depend on; `iproute2` gives a machine another address, and the rest is systemd's. What waits
/// for terminals, hardware or the clock is masked: it only delays a machine that lives for a minute.
const MAKE: &str = r#"mmdebstrap --quiet --variant=essential --mode=root \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=usr-is-merged,systemd,systemd-sysv,dbus,iproute2,procps \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*' \
    --customize-hook='echo uninitialized >"$1"/etc/machine-id' \
    --customize-hook='echo machine >"$1"/etc/hostname; : >"$1"/etc/resolv.conf' \
    --customize-hook='systemctl --root="$1" mask --quiet console-getty.service getty.target systemd-logind.service \
        systemd-modules-load.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
        fstrim.timer' \
    "$SUITE" "$0" >"$1" 2>&1"#;

/// The tree, made by mmdebstrap on first use; another recipe makes another tree.
pub(crate) fn ensure(folder: &Path, suite: &str) -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    MAKE.hash(&mut hasher);
    let tree = folder.join(format!("{suite}-{:016x}", hasher.finish()));
    if tree.is_dir() {
        return Ok(tree);
    }
    println!("==> the root file system, kept in {}", tree.display());
    fs::create_dir_all(folder)?;
    // Renamed when it is complete, so that an interrupted run leaves nothing that looks like a tree.
    let unfinished = folder.join(format!("unfinished-{suite}-{}", std::process::id()));
    let log = folder.join(format!("{suite}.log"));
    let mut make = sh(MAKE, &[&unfinished, &log]);
    make.env("SUITE", suite);
    run(make).with_context(|| format!("see {}", log.display()))?;
    if fs::rename(&unfinished, &tree).is_err() {
        // Another run was faster; its tree is as good.
        fs::remove_dir_all(&unfinished)?;
    }
    Ok(tree)
}
