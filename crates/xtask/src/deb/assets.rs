//! What the packages hold beside the binaries: man pages and completions, made from the daemons' own command lines.

use std::fs;
use std::path::Path;

use clap_complete::{Shell, generate};

use daemon::settings::{Program, Section};

use super::manual::{self, Daemon};

/// Writes all of it to `folder`, where `package.metadata.deb` looks for it.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for daemon in daemons() {
        let name = daemon.name;
        fs::write(folder.join(format!("{name}.8")), manual::program(&daemon)?)?;
        fs::write(folder.join(format!("{name}.toml.5")), manual::settings(&daemon))?;
        let shells = [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ];
        for (shell, file) in shells {
            let mut script = Vec::new();
            generate(shell, &mut daemon.command.clone(), name, &mut script);
            fs::write(folder.join(file), script)?;
        }
    }
    Ok(())
}

/// Both daemons, in the order of [`super::PACKAGES`].
fn daemons() -> [Daemon; 2] {
    [
        daemon::<servidor::settings::Own>(
            &servidor::settings::PROGRAM,
            "cliente",
            &["The wire", "Signals and exit statuses", "systemd"],
        ),
        daemon::<cliente::settings::Own>(
            &cliente::settings::PROGRAM,
            "servidor",
            &["Signals and exit statuses", "systemd"],
        ),
    ]
}

fn daemon<S: Section>(program: &Program, other: &'static str, sections: &'static [&'static str]) -> Daemon {
    // Neither man pages nor completions know backticks.
    let command = daemon::settings::command::<S>(program).mut_args(|arg| {
        let help = arg.get_help().map(|help| help.to_string().replace('`', "")).unwrap_or_default();
        arg.help(help)
    });
    let schema = daemon::settings::schema::<S>(program);
    Daemon { name: program.name, other, sections, command, schema }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::workspace;

    #[test]
    fn the_packaged_settings_are_those_of_the_daemons() {
        for daemon in daemons() {
            let path = workspace().join("deploy/config").join(format!("{}.toml", daemon.name));
            let expected = daemon::settings::default_config(daemon.name, &daemon.schema);
            let found = fs::read_to_string(&path).unwrap();
            assert!(found == expected, "to renew it: {} --default-config >{}", daemon.name, path.display());
        }
    }

    /// Eighty columns, less the indentation; nothing in a listing is wrapped.
    #[test]
    fn listings_fit_an_old_terminal() {
        for daemon in daemons() {
            let page = manual::program(&daemon).unwrap();
            let listings = page.split("\n.EX\n").skip(1).filter_map(|rest| rest.split_once("\n.EE\n"));
            let lines: Vec<&str> = listings.flat_map(|(listing, _)| listing.lines()).collect();
            assert!(!lines.is_empty());
            assert!(lines.iter().all(|line| line.chars().count() <= 69), "{lines:#?}");
        }
    }
}
