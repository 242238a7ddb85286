//! What the man pages and completions hold, and that the packaged settings are those of the daemons.

use std::path::Path;

use clap::Arg;

use super::*;

#[test]
fn the_packaged_settings_are_those_of_the_daemons() {
    for daemon in daemons() {
        let path = format!("deploy/config/{}.toml", daemon.name);
        let expected = daemon::settings::default_config(daemon.name, &daemon.schema);
        assert!(
            testkit::docs::read(&path) == expected,
            "to renew it: {} --default-config >{path}",
            daemon.name
        );
    }
}

/// What bash offers behind `line`, whose last word is being typed.
fn offered(daemon: &Daemon, line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("script"), completions(Shell::Bash, daemon).unwrap()).unwrap();
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
    let output = std::process::Command::new("bash").args(["-c", &run]).current_dir(&folder).output().unwrap();
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
fn no_page_names_flags_that_its_daemon_lacks() {
    for daemon in daemons() {
        let commands = [&daemon.command].into_iter().chain(daemon.command.get_subcommands());
        let flags: Vec<&str> = commands.flat_map(Command::get_arguments).filter_map(Arg::get_long).collect();
        let page = page::program(&daemon).replace("\\-", "-");
        let named = page.split("--").skip(1).filter_map(|rest| {
            rest.split(|character: char| !character.is_ascii_lowercase() && character != '-').next()
        });
        let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
        assert!(flags.iter().all(|flag| named.contains(flag)), "{flags:?} {named:?}");
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
        for page in [page::program(&daemon), page::settings(&daemon)] {
            for title in ["NAME", "DESCRIPTION", "ENVIRONMENT", "FILES", "EXAMPLES", "\"SEE ALSO\""] {
                let count = page.matches(&format!("\n.SH {title}\n")).count();
                assert_eq!(count, 1, "{title} of {}", daemon.name);
            }
        }
    }
}

/// Eighty columns, less the indentation; nothing in a listing is wrapped.
#[test]
fn listings_fit_an_old_terminal() {
    for daemon in daemons() {
        let page = page::program(&daemon).replace("\\-", "-");
        let listings = page.split("\n.EX\n").skip(1).filter_map(|rest| rest.split_once("\n.EE\n"));
        let lines: Vec<&str> = listings.flat_map(|(listing, _)| listing.lines()).collect();
        assert!(!lines.is_empty());
        assert!(lines.iter().all(|line| line.chars().count() <= 69), "{lines:#?}");
    }
}

#[test]
fn groff_has_no_complaints_about_the_pages() {
    let Some(groff) = testkit::tool("groff") else { return };
    let folder = tempfile::tempdir().unwrap();
    for daemon in daemons() {
        for page in [page::program(&daemon), page::settings(&daemon)] {
            let file = folder.path().join("page");
            fs::write(&file, page).unwrap();
            let output = run_groff(&groff, &file);
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", daemon.name);
            assert!(output.status.success() && output.stdout.len() > 2_000, "{output:?}");
        }
    }
}

fn run_groff(groff: &Path, page: &Path) -> std::process::Output {
    let mut command = std::process::Command::new(groff);
    command.args(["-man", "-Tutf8", "-Kutf8", "-ww"]).arg(page).output().unwrap()
}
