//! How subcommands call cargo and other programs, and where the files of this repository are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::find_program;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The folder that cargo builds in: all that is made by subcommands goes there too.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let metadata = output(cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo reports no target directory")
}

/// The cargo that runs us, with the toolchain it was called with.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    command
}

/// A shell script, to be run at the workspace's root. In it, `$0` and `$1` are the first two `arguments`.
pub(crate) fn sh(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).args(arguments).current_dir(workspace());
    command
}

/// Makes the folder `tree` what the workspace is now. Files that are the same stay untouched, so that they are not built again.
/// A file that was removed is listed until that is committed.
pub(crate) fn copy_tree(tree: &Path) -> anyhow::Result<()> {
    const COPY: &str = r#"
        git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
            if [[ -e $file ]] && ! cmp --quiet "$file" "$0/$file"; then
                mkdir -p "$(dirname "$0/$file")"
                cp "$file" "$0/$file"
            fi
        done"#;
    fs::create_dir_all(tree)?;
    run(sh(COPY, &[tree]))
}

/// Runs a command to its end; anything but success is an error that names it.
pub(crate) fn run(mut command: Command) -> anyhow::Result<()> {
    let shown = shown(&command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// The same, and returns what it prints.
pub(crate) fn output(mut command: Command) -> anyhow::Result<String> {
    let shown = shown(&command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{shown}` failed: {}\n{errors}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Builds these crates of the workspace, and returns the paths of their binaries of the same names, in the same order.
pub(crate) fn build(crates: &[&str], profile: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = cargo(&["build", "--profile", profile]);
    command.args(crates.iter().flat_map(|name| ["-p", name]));
    executables(command, crates)
}

/// Runs a build, and returns the paths of the executables of these targets, in the same order.
pub(crate) fn executables(mut command: Command, targets: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    println!("==> {}", shown(&command));
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the build failed: {}", output.status);
    let messages: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let executable = |name: &&str| {
        let artifact = messages.iter().find(|message| {
            message["reason"] == "compiler-artifact"
                && message["target"]["name"] == **name
                && message["executable"].is_string()
        });
        let path = artifact.and_then(|message| message["executable"].as_str());
        path.map(PathBuf::from).with_context(|| format!("cargo built no {name}"))
    };
    targets.iter().map(executable).collect()
}

/// The command as a person would type it, variables first.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy();
        words.push(format!("{}='{value}'", name.display()));
    }
    words.push(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Why a subcommand that needs root and these programs, each with its Debian package, cannot run here.
pub(crate) fn missing(tools: &[(&str, &str)]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("this needs root".to_owned());
    }
    let (tool, package) = tools.iter().find(|(tool, _)| find_program(tool).is_none())?;
    Some(format!("{tool} is missing: apt-get install {package}"))
}

/// Reports that something is skipped. In CI, that is an error.
pub(crate) fn skip(reason: &str) -> anyhow::Result<()> {
    ensure!(std::env::var("CI").as_deref() != Ok("true"), "{reason}; CI may skip nothing");
    println!("skipped: {reason}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_holds_this_crate() {
        assert!(workspace().join("crates/xtask/Cargo.toml").is_file());
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/env");
        command.args(["true", "-x"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' env true -x");
    }

    #[test]
    fn a_failed_command_is_named_in_its_error() {
        let error = run(sh("exit 3", &[])).unwrap_err().to_string();
        assert_eq!(error, "`bash -euo pipefail -c exit 3` failed: exit status: 3");
        let error = output(sh("echo $0 >&2; false", &[Path::new("why")])).unwrap_err().to_string();
        assert!(error.ends_with(" failed: exit status: 1\nwhy\n"), "{error}");
    }

    #[test]
    fn the_output_of_a_command_has_no_line_end() {
        assert_eq!(output(sh("echo a; echo b", &[])).unwrap(), "a\nb");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let missing = missing(&[("sh", "dash"), ("no-such-program", "its-package")]).unwrap();
        let expected = ["this needs root", "no-such-program is missing: apt-get install its-package"];
        assert!(expected.contains(&missing.as_str()), "{missing}");
    }
}
