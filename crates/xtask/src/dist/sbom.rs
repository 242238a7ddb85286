//! A list of each daemon's dependencies (CycloneDX), compared with the list that is inside the binary.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use flate2::read::ZlibDecoder;
use serde_json::Value;

use crate::command::{output, run, sh};
use crate::release::{Release, triple};
use crate::tools;

fn path(name: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{name}-{}.cdx.json", env!("CARGO_PKG_VERSION")))
}

pub(super) fn make(release: &Release, name: &str, folder: &Path) -> anyhow::Result<()> {
    let mut list = Command::new(tools::ensure("cargo-cyclonedx")?);
    list.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--target", &triple()]);
    list.args(["--override-filename", "sbom", "--manifest-path"]).arg(format!("crates/{name}/Cargo.toml"));
    release.prepare(&mut list);
    run(list)?;
    // Lists are written beside all manifests of the workspace, and name its crates by their folders.
    let mut take = sh("cat crates/$0/sbom.json && rm crates/*/sbom.json", &[name.as_ref()]);
    release.prepare(&mut take);
    let written = output(take)?;
    let source = release.source().display().to_string();
    Ok(fs::write(path(name, folder), written.replace(&source, "/source"))?)
}

/// The crates that a binary says it was built of are those that are listed, no more and no fewer.
pub(super) fn check(release: &Release, name: &str, folder: &Path) -> anyhow::Result<()> {
    let list: Value = serde_json::from_slice(&fs::read(path(name, folder))?)?;
    let listed = names(&list["components"])?;
    let inside = inside(&release.folder().join(name))?;
    let mut built_of = names(&inside["packages"])?;
    // The list is about the daemon itself.
    built_of.remove(&format!("{name} {}", env!("CARGO_PKG_VERSION")));
    ensure!(built_of == listed, "{name} is built of {built_of:?}, and listed are {listed:?}");
    println!("     {name}: {} crates, the same in the binary and in its list", listed.len());
    Ok(())
}

fn names(packages: &Value) -> anyhow::Result<BTreeSet<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a name or version is text");
    let packages = packages.as_array().context("no list of packages")?.iter();
    packages
        .map(|package| Ok(format!("{} {}", text(&package["name"])?, text(&package["version"])?)))
        .collect()
}

/// The list that cargo-auditable puts into a binary: JSON, compressed.
fn inside(binary: &Path) -> anyhow::Result<Value> {
    let section = binary.with_extension("dep-v0");
    run(sh(r#"objcopy --dump-section .dep-v0="$1" "$0" /dev/null"#, &[binary, &section]))?;
    let mut json = String::new();
    ZlibDecoder::new(fs::File::open(section)?).read_to_string(&mut json)?;
    Ok(serde_json::from_str(&json)?)
}
