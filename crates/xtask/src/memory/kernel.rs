//! The kernel that the virtual machine boots: Debian's own, for machines in a cloud.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command::run as run_command;

/// It depends on the kernel's package of the moment.
const METAPACKAGE: &str = "linux-image-cloud-amd64";

/// The kernel's image, downloaded by apt on first use. `None`: apt does not have it.
pub(super) fn ensure(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(package) = package()? else { return Ok(None) };
    let tree = folder.join(&package);
    let boot = tree.join("boot");
    if !tree.is_dir() {
        let unfinished = folder.join(format!("unfinished-{}", std::process::id()));
        fs::create_dir_all(&unfinished)?;
        println!("==> the kernel, kept in {}", tree.display());
        let mut download = Command::new("apt-get");
        // Root's downloads are made by another user, who may not write here.
        download.args(["-q", "-o", "APT::Sandbox::User=root", "download", &package]).current_dir(&unfinished);
        if run_command(download).is_err() {
            fs::remove_dir_all(&unfinished)?;
            return Ok(None);
        }
        let archive = entry(&unfinished, |name| name.starts_with("linux-image-"))?;
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&archive).arg(&unfinished);
        run_command(unpack)?;
        fs::remove_file(archive)?;
        fs::rename(&unfinished, &tree)?;
    }
    entry(&boot, |name| name.starts_with("vmlinuz-")).map(Some)
}

/// The name of the newest kernel's package.
fn package() -> anyhow::Result<Option<String>> {
    let output = Command::new("apt-cache").args(["depends", METAPACKAGE]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let dependency = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(dependency.map(str::to_owned))
}

fn entry(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<PathBuf> {
    let names = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut wanted =
        names.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_wanted));
    wanted.next().with_context(|| format!("{} has not what it should", folder.display()))
}
