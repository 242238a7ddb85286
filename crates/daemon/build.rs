//! Tells the code which commit it was built from: `REVISION` from the environment, else what git says.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=REVISION");
    let given = std::env::var("REVISION").ok().filter(|revision| !revision.is_empty());
    // Who gives a revision need not build again after each commit.
    if given.is_none()
        && let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let revision = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo:rustc-env=REVISION={}", revision.as_deref().unwrap_or("unknown"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
