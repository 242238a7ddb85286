//! `cargo xtask dist`: all that a release consists of, built twice in different folders, and the same bit by bit.

mod sbom;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgAction, ArgMatches};
use testkit::find_program;

use crate::command::{output, run as run_command, sh, skip, target};
use crate::release::{DAEMONS, QUICK, Release};
use crate::{deb, tools};

/// A folder for each daemon, with the same file times, owners and modes everywhere. `$0` is where the build is, `$1` where
/// the tarball goes.
const TARBALL: &str = r#"
    mkdir -p "$1/$STEM"/{man,completions,examples}
    cp "$0/$NAME" deploy/config/$NAME.toml deploy/systemd/$NAME*.service "$0/generated/runbooks.html" "$1/$STEM"
    cp README.md README.pt-BR.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT "$1/$STEM"
    cp "$0"/generated/$NAME{.8,.toml.5}.gz "$1/$STEM/man"
    cp "$0"/generated/{$NAME.bash,_$NAME,$NAME.fish} "$1/$STEM/completions"
    cp -r deploy/prometheus deploy/grafana "$1/$STEM/examples"
    tar --create --directory "$1" --sort=name --mtime=@"$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=a=rX,u+w --format=gnu "$STEM" | gzip --best --no-name >"$1/$STEM.tar.gz"
    rm -r "${1:?}/$STEM""#;

/// The package is whole, and an upgrade leaves its settings as they were edited.
const CHECK_RPM: &str = r#"
    rpm --checksig --nosignature "$1" >/dev/null
    rpm --query --package --queryformat '[%{FILEFLAGS:fflags} %{FILENAMES}\n]' "$1" | grep -qx "cn /etc/$0/$0.toml""#;

pub(crate) fn command() -> clap::Command {
    let quick = Arg::new("quick").long("quick").action(ArgAction::SetTrue);
    clap::Command::new("dist")
        .about("Make all files of a release, twice, and compare them")
        .arg(quick.help("Without optimization, for CI; such files are not for release"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let quick = matches.get_flag("quick");
    let target = target()?;
    let (folder, again) = (target.join("dist"), target.join("dist-again"));
    let release = Release::build(if quick { QUICK } else { "release" })?;
    make(&release, &folder)?;
    check(&release, &folder)?;
    if !quick {
        tools::advisories()?;
    }
    println!("==> the same again, of a copy of the source in {}", again.display());
    make(&release.build_again(&again.join("source"))?, &again.join("dist"))?;
    let [sums, sums_again] = [&folder, &again.join("dist")].map(|folder| sums(folder));
    let (sums, sums_again) = (sums?, sums_again?);
    ensure!(sums == sums_again, "two builds differ:\n{sums}\n{sums_again}\nsee {}", again.display());
    fs::remove_dir_all(again)?;
    println!("\n{sums}\n\nTwo builds are the same: see {}", folder.display());
    Ok(())
}

fn sums(folder: &Path) -> anyhow::Result<String> {
    fs::read_to_string(folder.join("SHA256SUMS")).context("SHA256SUMS was written")
}

/// Puts all files of a release into an empty folder.
fn make(release: &Release, folder: &Path) -> anyhow::Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    for name in DAEMONS {
        tarball(release, name, folder)?;
        deb::make(release, name, folder)?;
        let package = format!("crates/{name}");
        let mut rpm = release.command("cargo-generate-rpm", &["generate-rpm", "--package", &package])?;
        rpm.arg("--output").arg(folder);
        run_command(rpm)?;
        sbom::make(release, name, folder)?;
    }
    run_command(sh(r#"cd "$0" && sha256sum * >SHA256SUMS"#, &[folder]))
}

/// Makes the tarball of a daemon, and returns its path.
pub(crate) fn tarball(release: &Release, name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let stem = format!("{name}-{}-{ARCH}-linux", env!("CARGO_PKG_VERSION"));
    let mut tarball = sh(TARBALL, &[&release.folder(), folder]);
    release.prepare(&mut tarball);
    tarball.env("NAME", name).env("STEM", &stem);
    run_command(tarball)?;
    Ok(folder.join(format!("{stem}.tar.gz")))
}

/// Looks at what was made with the tools that those who install it have.
fn check(release: &Release, folder: &Path) -> anyhow::Result<()> {
    for name in DAEMONS {
        sbom::check(release, name, folder)?;
    }
    deb::lint(&files(folder, "deb")?)?;
    let packages = files(folder, "rpm")?;
    if find_program("rpm").is_none() || find_program("rpmlint").is_none() {
        return skip(
            "without rpm and rpmlint the .rpm packages are not checked (apt-get install rpm rpmlint)",
        );
    }
    for (name, package) in DAEMONS.iter().zip(&packages) {
        run_command(sh(CHECK_RPM, &[name.as_ref(), package]))?;
    }
    let mut lint = Command::new("rpmlint");
    lint.args(["--config", "deploy/rpm/rpmlint.toml"]).args(&packages).current_dir(release.source());
    run_command(lint)
}

/// The files with this extension, in the order of [`DAEMONS`].
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let list = output(sh(&format!(r#"ls "$0"/*.{extension}"#), &[folder]))?;
    let files: Vec<_> = list.lines().rev().map(PathBuf::from).collect();
    ensure!(files.len() == DAEMONS.len(), "{} files .{extension}", files.len());
    Ok(files)
}
