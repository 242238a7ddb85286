//! Writes what the Debian packages hold beside the binaries: man pages, completions and runbooks.
//!
//! `manual FOLDER`: they are made from the daemons' command lines and settings, and from the README.

mod examples;
mod page;
mod roff;
mod runbooks;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Command;
use clap_complete::{Shell, generate};
use daemon::settings::{Program, Section, Setting};

use examples::Examples;

/// What its manual needs to know about a daemon.
struct Daemon {
    name: &'static str,
    other: &'static str,
    /// The sections of the README that are for its operators.
    sections: &'static [&'static str],
    examples: Examples,
    command: Command,
    schema: Vec<Setting>,
}

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("usage: manual FOLDER")?);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("runbooks.html"), runbooks::page())?;
    for daemon in daemons() {
        let name = daemon.name;
        fs::write(folder.join(format!("{name}.8")), page::program(&daemon))?;
        fs::write(folder.join(format!("{name}.toml.5")), page::settings(&daemon))?;
        fs::write(folder.join(format!("{name}.bash")), completions(Shell::Bash, &daemon)?)?;
        fs::write(folder.join(format!("_{name}")), completions(Shell::Zsh, &daemon)?)?;
        fs::write(folder.join(format!("{name}.fish")), completions(Shell::Fish, &daemon)?)?;
    }
    Ok(())
}

fn completions(shell: Shell, daemon: &Daemon) -> anyhow::Result<String> {
    // Completions know no backticks.
    let mut command = daemon.command.clone().mut_args(|arg| {
        let help = arg.get_help().map(|help| help.to_string().replace('`', "")).unwrap_or_default();
        arg.help(help)
    });
    let mut script = Vec::new();
    generate(shell, &mut command, daemon.name, &mut script);
    // Where nothing fits, bash would offer file names.
    Ok(String::from_utf8(script)?.replace(" -o bashdefault -o default", ""))
}

fn daemons() -> [Daemon; 2] {
    let sections = &["The wire", "Signals and exit statuses", "systemd"];
    [
        daemon::<servidor::settings::Own>(
            &servidor::settings::PROGRAM,
            "cliente",
            sections,
            examples::SERVIDOR,
        ),
        daemon::<cliente::settings::Own>(
            &cliente::settings::PROGRAM,
            "servidor",
            &sections[1..],
            examples::CLIENTE,
        ),
    ]
}

fn daemon<S: Section>(
    program: &Program,
    other: &'static str,
    sections: &'static [&'static str],
    examples: Examples,
) -> Daemon {
    let command = daemon::settings::command::<S>(program);
    let schema = daemon::settings::schema::<S>(program);
    Daemon { name: program.name, other, sections, examples, command, schema }
}

#[cfg(test)]
mod tests;
