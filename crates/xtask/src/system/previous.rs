//! The packages of version 0.1.0, whose sockets systemd bound: built from their commit, and kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::command::{run, sh};
use crate::release::DAEMONS;
use crate::tools;

const COMMIT: &str = "51abdbea70a7848e9a913cebe2c514c1cd7ce4c9";

/// Builds in a target folder beside the source: in ours, cargo would take crates of the same name and version for the same.
/// Unoptimized, and without man pages and completions: what is tested is how the packages are installed.
const BUILD: &str = r#"
    git archive "$COMMIT" | tar --extract --directory "$0"
    cd "$0"
    export CARGO_TARGET_DIR=target CARGO_PROFILE_DEV_DEBUG=none
    "${CARGO:-cargo}" build --quiet --locked -p servidor -p cliente
    mkdir -p target/deb
    for name in servidor cliente; do
        touch target/deb/{$name.8,$name.toml.5,$name.bash,_$name,$name.fish}
        "$1" deb --no-build --quiet --profile dev --package $name --output "../$name-0.1.0.deb"
    done"#;

/// The packages in the order of [`DAEMONS`].
pub(super) fn ensure(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.join("0.1.0");
    let packages = DAEMONS.map(|name| folder.join(format!("{name}-0.1.0.deb"))).to_vec();
    if !packages.iter().all(|package| package.is_file()) {
        println!("==> the packages of version 0.1.0, kept in {}", folder.display());
        let (source, cargo_deb) = (folder.join("source"), tools::ensure("cargo-deb")?);
        fs::create_dir_all(&source)?;
        let mut build = sh(BUILD, &[&source, &cargo_deb]);
        build.env("COMMIT", COMMIT);
        run(build).with_context(|| format!("is commit {COMMIT} here, or is this a shallow clone?"))?;
        fs::remove_dir_all(source)?;
    }
    Ok(packages)
}
