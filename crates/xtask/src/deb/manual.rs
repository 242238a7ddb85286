//! Man pages, made from the settings' own words, the flags, and the sections of the README that are for operators.

use std::collections::HashSet;

use clap::{Arg, Command};
use clap_mangen::Man;
use daemon::settings::{Change, Setting};
use roff::{Roff, bold, roman};

use super::examples::Examples;
use super::roff::{code, inlines, item, section};
use super::synopsis::synopsis;
use crate::readme::{self, Block};

/// Variables that are no settings, and what they are for.
const VARIABLES: [(&str, &str); 4] = [
    ("NO_COLOR", "If it is not empty, text logs on a terminal are not coloured."),
    ("TERM", "If it is `dumb`, the same."),
    ("LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID", "Sockets handed over by systemd: see sd_listen_fds(3)."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM",
        "Set by systemd: where to report the state, how often to send watchdog messages, and whether standard error is \
         the journal, which takes a priority with each line.",
    ),
];

/// What a daemon's manual needs to know of it.
pub(super) struct Daemon {
    pub(super) name: &'static str,
    pub(super) other: &'static str,
    /// The sections of the README that are for its operators.
    pub(super) sections: &'static [&'static str],
    pub(super) examples: Examples,
    pub(super) command: Command,
    pub(super) schema: Vec<Setting>,
}

/// The page of the program, in section 8.
pub(super) fn program(daemon: &Daemon) -> anyhow::Result<String> {
    let name = daemon.name;
    let about = daemon.command.get_about().map(ToString::to_string).unwrap_or_default();
    let about = about.trim_end_matches('.');
    let man = Man::new(daemon.command.clone());
    let mut text = title(name, name, 8).into_bytes();
    man.render_name_section(&mut text)?;
    let mut page = Roff::new();
    synopsis(&mut page, &daemon.command, &daemon.schema);
    page.control("SH", ["DESCRIPTION"]);
    page.text(inlines(&format!(
        "{about}. Every flag below SETTINGS may also be a line of a file or a variable: `{name}.toml`(5) tells how, and \
         what each means. As a service it is run by systemd: see SYSTEMD below."
    )));
    text.extend(page.to_roff().into_bytes());
    man.render_options_section(&mut text)?;
    let mut page = Roff::new();
    for subcommand in daemon.command.get_subcommands() {
        self::subcommand(&mut page, name, subcommand);
        for block in readme::section("README.md", "Benchmarking")? {
            // Its list is about the flags, which have just been told.
            if let Block::Paragraph(text) = block
                && !text.starts_with("- ")
                && knows_all_flags(&daemon.command, &text)
            {
                page.control("PP", []).text(inlines(&text));
            }
        }
    }
    for title in daemon.sections {
        let mut blocks = readme::section("README.md", title)?;
        blocks.retain(|block| match block {
            // Sessions at a terminal are for the README: they are wider than a man page.
            Block::Code(text) => !text.starts_with("$ "),
            Block::Paragraph(text) => knows_all_flags(&daemon.command, text),
            Block::Heading(_) | Block::Table(_) => true,
        });
        section(&mut page, title, &blocks);
    }
    environment(&mut page, daemon);
    for (variable, meaning) in VARIABLES {
        item(&mut page, vec![bold(variable)], meaning);
    }
    files(&mut page, name);
    page.control("SH", ["EXAMPLES"]);
    for (purpose, line) in daemon.examples.commands {
        page.control("PP", []).text(inlines(purpose));
        code(&mut page, line);
    }
    see_also(
        &mut page,
        &[(&format!("{name}.toml"), 5), (daemon.other, 8), ("systemctl", 1), ("journalctl", 1)],
    );
    Ok(String::from_utf8(text)? + &page.to_roff())
}

/// Whether the daemon has all flags that a paragraph of the README names: some are about other programs.
fn knows_all_flags(command: &Command, text: &str) -> bool {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let known: HashSet<&str> = commands.flat_map(Command::get_arguments).filter_map(Arg::get_long).collect();
    let mut words = text.split('`').skip(1).step_by(2).flat_map(|code| code.split([' ', '=']));
    words.all(|word| word.strip_prefix("--").is_none_or(|flag| known.contains(flag)))
}

fn environment(page: &mut Roff, daemon: &Daemon) {
    page.control("SH", ["ENVIRONMENT"]);
    let variables: Vec<String> = daemon.schema.iter().map(|setting| setting.variable(daemon.name)).collect();
    let meaning =
        format!("Each is the setting of that name: see `{}.toml`(5). Empty ones do not count.", daemon.name);
    item(page, vec![bold(variables.join(", "))], &meaning);
}

fn files(page: &mut Roff, name: &str) {
    page.control("SH", ["FILES"]);
    for (path, what) in [
        (format!("/etc/{name}/{name}.toml"), "Settings of the service."),
        (
            format!("/usr/share/doc/{name}/examples/"),
            "For Prometheus: configuration, rules, alerts and their tests. For Grafana: a dashboard.",
        ),
        (format!("/usr/share/doc/{name}/runbooks.html"), "What each alert means, and what to do."),
    ] {
        item(page, vec![bold(path)], what);
    }
}

/// What a word behind the daemon's name makes of it: its flags, each with its default.
fn subcommand(page: &mut Roff, daemon: &str, command: &Command) {
    let name = command.get_name();
    page.control("SH", [name.to_uppercase().as_str()]);
    page.text(inlines(&format!("`{daemon} [--SETTING VALUE]... {name} [--FLAG VALUE]...`")));
    for about in [command.get_about(), command.get_after_help()].into_iter().flatten() {
        page.control("PP", []).text(inlines(&about.to_string()));
    }
    for flag in command.get_arguments() {
        let value = flag.get_value_names().filter(|_| flag.get_action().takes_values());
        let value = value.and_then(<[_]>::first).map(|value| format!(" <{value}>")).unwrap_or_default();
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let default = flag.get_default_values().first().filter(|_| flag.get_action().takes_values());
        let default =
            default.map(|default| format!(" [default: {}]", default.to_string_lossy())).unwrap_or_default();
        let flag = flag.get_long().unwrap_or_default();
        item(page, vec![bold(format!("--{flag}")), roman(value)], &format!("{help}{default}"));
    }
}

/// The page of the settings file, in section 5.
pub(super) fn settings(daemon: &Daemon) -> String {
    let name = daemon.name;
    let mut page = Roff::new();
    page.control("SH", ["NAME"]).text([roman(format!("{name}.toml - settings of {name}"))]);
    page.control("SH", ["DESCRIPTION"]);
    page.text(inlines(&format!(
        "The service reads `/etc/{name}/{name}.toml`. Each setting is also a flag of {name}(8), and a variable: upper \
         case, with underscores, and `{}_` before it. Flags win over variables, variables over the file, the file over \
         defaults. What is wrong is refused, all of it at once; a reload with wrong settings keeps those in force.",
        name.to_uppercase()
    )));
    page.control("PP", []);
    page.text(inlines("Durations are written `200ms`, `10s` or `1m`. Lists are arrays of strings."));
    page.control("PP", []);
    page.text(inlines(&format!(
        "`{name} --check-config --config FILE` checks a file, and prints what is then in force."
    )));
    page.control("SH", ["SETTINGS"]);
    for setting in &daemon.schema {
        let change = match setting.change {
            Change::Live => "A reload applies it.",
            Change::Restart => "A change takes effect at a restart.",
        };
        let doc: Vec<&str> = setting.doc.lines().map(str::trim).collect();
        item(&mut page, vec![bold(setting.name.as_str())], doc.join(" ").trim());
        page.control("RS", []);
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        page.text(inlines(&format!("Expected: {}. Default: {default}. {change}", setting.expected)));
        page.control("RE", []);
    }
    environment(&mut page, daemon);
    files(&mut page, name);
    page.control("SH", ["EXAMPLES"]);
    page.text(inlines(&format!("In `/etc/{name}/{name}.toml`, all other settings at their defaults:")));
    code(&mut page, daemon.examples.settings);
    see_also(&mut page, &[(name, 8)]);
    title(&format!("{name}.toml"), name, 5) + &page.to_roff()
}

/// No date: the same source makes the same page. Neither hyphens nor stretched lines: names of settings stay whole.
fn title(page: &str, daemon: &str, number: u8) -> String {
    format!(
        ".TH {} {number} \"\" \"{daemon} {}\"\n.nh\n.ad l\n",
        page.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    )
}

fn see_also(page: &mut Roff, pages: &[(&str, u8)]) {
    page.control("SH", ["SEE ALSO"]);
    let last = pages.len() - 1;
    for (index, (name, number)) in pages.iter().enumerate() {
        page.text([bold(*name), roman(format!("({number}){}", if index == last { "" } else { "," }))]);
    }
}
