//! What the packages hold beside the binaries: man pages and completions, made from the daemons' own command lines.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap_complete::{Shell, generate};

use daemon::settings::{Program, Section};

use super::examples::{self, Examples};
use super::manual::{self, Daemon};
use super::runbooks;
use crate::cargo::run as run_command;

/// Writes all of it to `folder`, where `package.metadata.deb` looks for it.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("runbooks.html"), runbooks::page()?)?;
    for daemon in daemons() {
        let name = daemon.name;
        write_compressed(&folder.join(format!("{name}.8")), &manual::program(&daemon)?)?;
        write_compressed(&folder.join(format!("{name}.toml.5")), &manual::settings(&daemon))?;
        let shells = [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ];
        for (shell, file) in shells {
            fs::write(folder.join(file), completions(shell, &daemon)?)?;
        }
    }
    Ok(())
}

fn completions(shell: Shell, daemon: &Daemon) -> anyhow::Result<String> {
    let mut script = Vec::new();
    generate(shell, &mut daemon.command.clone(), daemon.name, &mut script);
    // Where nothing fits, bash would offer file names.
    Ok(String::from_utf8(script)?.replace(" -o bashdefault -o default", ""))
}

/// Writes a man page. cargo-deb compresses none of what is in cargo's target folder.
fn write_compressed(file: &Path, page: &str) -> anyhow::Result<()> {
    fs::write(file, page)?;
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name", "--force"]).arg(file);
    run_command(gzip)
}

/// Both daemons, in the order of [`super::PACKAGES`].
fn daemons() -> [Daemon; 2] {
    [
        daemon::<servidor::settings::Own>(
            &servidor::settings::PROGRAM,
            "cliente",
            &["The wire", "Signals and exit statuses", "systemd"],
            examples::SERVIDOR,
        ),
        daemon::<cliente::settings::Own>(
            &cliente::settings::PROGRAM,
            "servidor",
            &["Signals and exit statuses", "systemd"],
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
    // Neither man pages nor completions know backticks.
    let command = daemon::settings::command::<S>(program).mut_args(|arg| {
        let help = arg.get_help().map(|help| help.to_string().replace('`', "")).unwrap_or_default();
        arg.help(help)
    });
    let schema = daemon::settings::schema::<S>(program);
    Daemon { name: program.name, other, sections, examples, command, schema }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

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

    /// What bash offers behind `line`, whose last word is being typed.
    fn offered(daemon: &Daemon, line: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, completions(Shell::Bash, daemon).unwrap()).unwrap();
        fs::write(folder.path().join("a file"), "").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let [.., before, typed] = words[..] else { panic!("{line}: at least two words") };
        let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        // compopt complains where nobody types.
        let run = format!(
            ". ./script; COMP_WORDS=({quoted}); COMP_CWORD={}; _{name} {name} '{typed}' '{before}' 2>/dev/null; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1,
            name = daemon.name,
        );
        let output = Command::new("bash").args(["-c", &run]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_offers_values_and_file_names_only_where_they_fit() {
        if testkit::tool("bash").is_none() {
            return;
        }
        let [servidor, cliente] = daemons();
        for (daemon, line, expected) in [
            (&servidor, "servidor --log-level ", &["error", "warn", "info", "debug", "trace", "off"][..]),
            (&servidor, "servidor --log-format ", &["auto", "json", "text"]),
            (&servidor, "servidor --overload ", &["wait", "refuse"]),
            (&servidor, "servidor --overload re", &["refuse"]),
            (&servidor, "servidor --max-connections ", &[""]),
            (&servidor, "servidor --listen ", &[""]),
            (&servidor, "servidor --config ", &["a file", "script"]),
            (&cliente, "cliente --connection ", &["fresh", "kept"]),
            (&cliente, "cliente --count ", &[""]),
            (&cliente, "cliente bench --connection ", &["fresh", "kept"]),
            (&cliente, "cliente bench --rate ", &[""]),
            (&cliente, "cliente bench --hdr ", &["a file", "script"]),
        ] {
            let mut found = offered(daemon, line);
            if line.ends_with("--config ") || line.ends_with("--hdr ") {
                found.sort();
            }
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn no_page_tells_of_flags_that_its_daemon_lacks() {
        for daemon in daemons() {
            let commands = [&daemon.command].into_iter().chain(daemon.command.get_subcommands());
            let flags: Vec<&str> =
                commands.flat_map(clap::Command::get_arguments).filter_map(Arg::get_long).collect();
            let page = manual::program(&daemon).unwrap().replace("\\-", "-");
            let named = page.split("--").skip(1).filter_map(|rest| {
                rest.split(|character: char| !character.is_ascii_lowercase() && character != '-').next()
            });
            let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
            assert!(named.len() > 10, "{named:?}");
            for name in named {
                assert!(
                    ["help", "version"].contains(&name) || flags.contains(&name),
                    "{}: --{name}",
                    daemon.name
                );
            }
        }
    }

    #[test]
    fn every_page_has_the_sections_that_people_look_for() {
        for daemon in daemons() {
            for page in [manual::program(&daemon).unwrap(), manual::settings(&daemon)] {
                for title in ["NAME", "DESCRIPTION", "ENVIRONMENT", "FILES", "EXAMPLES", "\"SEE ALSO\""] {
                    assert_eq!(
                        page.matches(&format!("\n.SH {title}\n")).count(),
                        1,
                        "{title} of {}",
                        daemon.name
                    );
                }
            }
        }
    }

    /// Eighty columns, less the indentation; nothing in a listing is wrapped.
    #[test]
    fn listings_fit_an_old_terminal() {
        for daemon in daemons() {
            let page = manual::program(&daemon).unwrap().replace("\\-", "-");
            let listings = page.split("\n.EX\n").skip(1).filter_map(|rest| rest.split_once("\n.EE\n"));
            let lines: Vec<&str> = listings.flat_map(|(listing, _)| listing.lines()).collect();
            assert!(!lines.is_empty());
            assert!(lines.iter().all(|line| line.chars().count() <= 69), "{lines:#?}");
        }
    }
}
