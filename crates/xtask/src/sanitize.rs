//! `cargo xtask sanitize`: the tests of what ships under the address sanitizer, which finds leaks as well.
//!
//! It is for use by hand: everything is built again, and the tests are slower. The thread sanitizer is not offered: without a
//! standard library that is built with it, it takes channels for data races.

use clap::{Arg, ArgAction, ArgMatches};

use crate::command::{cargo, run as run_command, target};

/// What ships, and what it is made of. The others start cargo, which would inherit the flags.
const PACKAGES: [&str; 5] = ["protocol", "reactor", "daemon", "servidor", "cliente"];
/// Build scripts and macros are for the host, and are built as usual.
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn command() -> clap::Command {
    let arguments = Arg::new("arguments").action(ArgAction::Append).last(true);
    clap::Command::new("sanitize")
        .about("Run the tests of both daemons under the address sanitizer, which finds leaks too")
        .arg(arguments.help("For `cargo test`, in place of all packages"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--target", TARGET, "--no-fail-fast"]);
    command.arg("--target-dir").arg(target()?.join("sanitize"));
    // Reports name lines even so.
    command.args(["--config", "profile.dev.debug='line-tables-only'"]);
    match matches.get_many::<String>("arguments") {
        Some(arguments) => command.args(arguments),
        None => command.args(PACKAGES.iter().flat_map(|name| ["--package", name])),
    };
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    run_command(command)
}
