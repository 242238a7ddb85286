//! The daemons as they are released: static, with the list of their dependencies inside, and without paths of this machine.

use std::env::{consts::ARCH, home_dir, var_os};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command::{build, output, run, sh, target, workspace};
use crate::tools;

pub(crate) const DAEMONS: [&str; 2] = ["servidor", "cliente"];

/// The profile of a build that only shows how releases are made.
pub(crate) const QUICK: &str = "quick";

/// A build of both daemons.
#[derive(Debug)]
pub(crate) struct Release {
    source: PathBuf,
    target: PathBuf,
    profile: &'static str,
    /// The commit, for `--version`, and its time, for all that has a time.
    revision: String,
    time: String,
}

impl Release {
    /// Builds this source as the Dockerfile does.
    pub(crate) fn build(profile: &'static str) -> anyhow::Result<Self> {
        let (revision, time) =
            (git("describe --always --abbrev=12 --dirty --exclude=*")?, git("log -1 --format=%ct")?);
        let release = Self { source: workspace().to_owned(), target: target()?, profile, revision, time };
        release.build_daemons()?;
        Ok(release)
    }

    /// The same of a copy of the source, in `folder`, which shares nothing with the first build but the tools.
    pub(crate) fn build_again(&self, folder: &Path) -> anyhow::Result<Self> {
        let copy = r#"rm -rf "$0" && mkdir -p "$0" && git ls-files -z | tar --null -T - -c | tar -x -C "$0""#;
        run(sh(copy, &[folder]))?;
        let (revision, time) = (self.revision.clone(), self.time.clone());
        let release =
            Self { source: folder.to_owned(), target: folder.join("target"), revision, time, ..*self };
        release.build_daemons()?;
        Ok(release)
    }

    fn build_daemons(&self) -> anyhow::Result<()> {
        let cargo_home = var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home_dir()?.join(".cargo")));
        let replaced = |path: &Path, by: &str| format!("--remap-path-prefix={}={by}", path.display());
        let flags = [
            "-Ctarget-feature=+crt-static".to_owned(),
            r#"--cfg=getrandom_backend="linux_getrandom""#.to_owned(),
            "-Cstrip=symbols".to_owned(),
            replaced(&cargo_home.context("no home folder")?, "/cargo"),
            replaced(&self.source, "/source"),
            replaced(&self.target, "/target"),
        ];
        let mut build_daemons = self.command("cargo-auditable", &["auditable", "build", "--locked"])?;
        build_daemons.args(DAEMONS.iter().flat_map(|name| ["-p", name]));
        build_daemons.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        run(build_daemons)?;
        let generated = self.folder().join("generated");
        let mut manual = Command::new(build(&["manual"], "dev")?.remove(0));
        manual.arg(&generated);
        run(manual)?;
        run(sh(r#"gzip --best --no-name --force "$0"/*.[58]"#, &[&generated]))
    }

    /// A subcommand of cargo that works on this build.
    pub(crate) fn command(&self, tool: &str, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(tools::ensure(tool)?);
        command.args(arguments).args(["--profile", self.profile, "--target", &triple()]);
        self.prepare(&mut command);
        Ok(command)
    }

    /// Runs a command in the source, with what must be the same in all builds.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(&self.source).env("CARGO_TARGET_DIR", &self.target);
        command.env("REVISION", &self.revision).env("SOURCE_DATE_EPOCH", &self.time).env("LC_ALL", "C");
    }

    /// Where the binaries are; in its folder `generated` are man pages, completions and runbooks.
    pub(crate) fn folder(&self) -> PathBuf {
        self.target.join(triple()).join(self.profile)
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.profile == QUICK
    }

    pub(crate) fn source(&self) -> &Path {
        &self.source
    }
}

/// What is built for: naming the target keeps the flags away from build scripts and macros.
pub(crate) fn triple() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

fn git(arguments: &str) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.args(arguments.split(' ')).current_dir(workspace());
    output(git).context("a release is made of a commit")
}
