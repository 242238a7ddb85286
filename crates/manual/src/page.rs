//! Man pages, put together as Markdown from the settings, the flags, and the sections of the README for operators.

use std::collections::HashSet;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};
use daemon::settings::Change;
use pulldown_cmark::{Event, Options, Parser, Tag};
use testkit::docs::section;

use crate::Daemon;
use crate::roff::roff;

/// Variables that are no settings, and what they are for.
const VARIABLES: &str = "\
| `NO_COLOR` | If it is not empty, text logs on a terminal are not coloured. |
| `TERM` | If it is `dumb`, the same. |
| `LISTEN_FDS`, `LISTEN_FDNAMES`, `LISTEN_PID` | Sockets handed over by systemd: see sd_listen_fds(3). |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `JOURNAL_STREAM` | Set by systemd: where to report the state, how often to send \
watchdog messages, and whether standard error is the journal, which takes a priority with each line. |
";

/// A table's head: tables are lists of things, each with what there is to say about it.
const TABLE: &str = "\n| | |\n|---|---|\n";

/// The page of the program, in section 8.
pub(crate) fn program(daemon: &Daemon) -> String {
    let Daemon { name, other, command, .. } = daemon;
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let about = about.trim_end_matches('.');
    let mut page = format!(
        "## Name\n\n{name} - {about}\n\n## Synopsis\n\n{}\n\n## Description\n\n{about}. Every flag below SETTINGS may also \
         be a line of a file or a variable: `{name}.toml`(5) says how, and what each means. As a service it is run by \
         systemd: see SYSTEMD below.\n",
        synopsis(daemon)
    );
    let (settings, others): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().partition(|flag| is_setting(daemon, flag));
    page += "\n## Options\n";
    flags(&mut page, &others);
    page += "| `-h`, `--help` | Prints help |\n| `-V`, `--version` | Prints the version |\n";
    page += "\n## Settings\n";
    flags(&mut page, &settings);
    for subcommand in command.get_subcommands() {
        let _ = write!(page, "\n## {}\n", subcommand.get_name());
        for about in [subcommand.get_about(), subcommand.get_after_help()].into_iter().flatten() {
            let _ = write!(page, "\n{about}\n");
        }
        flags(&mut page, &subcommand.get_arguments().collect::<Vec<_>>());
        page += "\n";
        page += &excerpt(daemon, "Benchmarking");
    }
    for title in daemon.sections {
        let _ = write!(page, "\n## {title}\n\n{}", excerpt(daemon, title));
    }
    page += &environment(daemon);
    page += VARIABLES;
    page += &files(name);
    page += "\n## Examples\n\n";
    for (purpose, line) in daemon.examples.commands {
        let _ = write!(page, "{purpose}\n\n```\n{line}\n```\n\n");
    }
    let _ = write!(page, "## See also\n\n`{name}.toml`(5), `{other}`(8), `systemctl`(1), `journalctl`(1)\n");
    title(name, name, 8) + &roff(&page)
}

/// The page of the settings file, in section 5.
pub(crate) fn settings(daemon: &Daemon) -> String {
    let name = daemon.name;
    let mut page = format!(
        "## Name\n\n{name}.toml - settings of {name}\n\n## Description\n\nThe service reads `/etc/{name}/{name}.toml`. Each \
         setting is also a flag of {name}(8), and a variable: upper case, with underscores, and `{}_` before it. Flags \
         win over variables, variables over the file, the file over defaults. What is wrong is refused, all of it at \
         once; a reload with wrong settings keeps those in force.\n\nDurations are written `200ms`, `10s` or `1m`. Lists \
         are arrays of strings.\n\n`{name} --check-config --config FILE` checks a file, and prints what is then in \
         force.\n\n## Settings\n\n| | | |\n|---|---|---|\n",
        name.to_uppercase()
    );
    for setting in &daemon.schema {
        let change = match setting.change {
            Change::Live => "A reload applies it.",
            Change::Restart => "A change takes effect at a restart.",
        };
        let doc: Vec<&str> = setting.doc.lines().map(str::trim).collect();
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let more = format!("Expected: {}. Default: {default}. {change}", setting.expected);
        let _ = writeln!(page, "| `{}` | {} | {} |", setting.name, cell(doc.join(" ").trim()), cell(&more));
    }
    page += &environment(daemon);
    page += &files(name);
    let _ = write!(
        page,
        "\n## Examples\n\nIn `/etc/{name}/{name}.toml`, all other settings at their defaults:\n\n```\n{}```\n\n## See also\n\n\
         `{name}`(8)\n",
        daemon.examples.settings
    );
    title(&format!("{name}.toml"), name, 5) + &roff(&page)
}

/// No date: the same source makes the same page. Neither hyphens nor stretched lines: names of settings stay complete.
fn title(page: &str, daemon: &str, number: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} {number} \"\" \"{daemon} {version}\"\n.nh\n.ad l\n", page.to_uppercase())
}

/// The ways to call a daemon: a run, each subcommand, and the flags that print something and exit.
fn synopsis(daemon: &Daemon) -> String {
    let Daemon { name, command, .. } = daemon;
    let others = command.get_arguments().filter(|flag| !is_setting(daemon, flag));
    let (valued, switches): (Vec<&Arg>, Vec<&Arg>) =
        others.partition(|flag| flag.get_action().takes_values());
    // No line ends between a flag and its value.
    let any = |kind: &str| format!("[`--{kind}`\u{a0}*VALUE*]...");
    let (positional, valued): (Vec<&Arg>, Vec<&Arg>) = valued.iter().partition(|flag| flag.is_positional());
    let positional: Vec<String> =
        positional.iter().map(|argument| format!(" [{}]...", usage(argument))).collect();
    let positional = positional.concat();
    let valued = valued.iter().map(|flag| format!("[{}] ", usage(flag).replace("` ", "`\u{a0}")));
    let mut lines = vec![format!("`{name}` {}{}{positional}", valued.collect::<String>(), any("SETTING"))];
    for subcommand in command.get_subcommands() {
        lines.push(format!("`{name}` {} `{}` {}", any("SETTING"), subcommand.get_name(), any("FLAG")));
    }
    // A switch with a heading belongs to the flag of that heading.
    let is_switch =
        |flag: &&Arg| matches!(flag.get_action(), ArgAction::SetTrue) && flag.get_help_heading().is_none();
    let switches: Vec<String> = switches.into_iter().filter(is_switch).map(usage).collect();
    lines.push(format!("`{name}` {{{}}} {}", switches.join(" | "), any("SETTING")));
    lines.join("\\\n")
}

fn is_setting(daemon: &Daemon, flag: &Arg) -> bool {
    daemon.schema.iter().any(|setting| flag.get_long() == Some(setting.name.as_str()))
}

/// Adds a table of flags.
fn flags(page: &mut String, flags: &[&Arg]) {
    page.push_str(TABLE);
    for flag in flags {
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let default = flag.get_default_values().first().filter(|_| flag.get_action().takes_values());
        let default = default.map(|default| format!(" [default: {}]", default.display())).unwrap_or_default();
        let _ = writeln!(page, "| {} | {}{default} |", usage(flag), cell(&help));
    }
}

/// A flag with its value.
fn usage(flag: &Arg) -> String {
    let value = flag.get_value_names().filter(|_| flag.get_action().takes_values()).and_then(<[_]>::first);
    if let (true, Some(value)) = (flag.is_positional(), value) {
        return format!("*{value}*");
    }
    let value = value.map(|value| format!(" *{value}*")).unwrap_or_default();
    format!("`--{}`{value}", flag.get_long().unwrap_or_default())
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A section of the README, without what a man page cannot show: sessions at a terminal, which are wider, lists, which are
/// about flags, and paragraphs about flags of other programs.
fn excerpt(daemon: &Daemon, heading: &str) -> String {
    let text = section("README.md", heading);
    let (mut excerpt, mut depth) = (String::new(), 0);
    for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                let source = &text[range];
                let is_wanted = match tag {
                    Tag::CodeBlock(_) => !source.contains("\n$ "),
                    Tag::Paragraph => knows_all_flags(&daemon.command, source),
                    Tag::List(_) => false,
                    _ => true,
                };
                if depth == 0 && is_wanted {
                    let _ = write!(excerpt, "{source}\n\n");
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    excerpt
}

/// Whether the daemon has all flags that a paragraph of the README names.
fn knows_all_flags(command: &Command, markdown: &str) -> bool {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let known: HashSet<&str> = commands.flat_map(Command::get_arguments).filter_map(Arg::get_long).collect();
    Parser::new(markdown).all(|event| {
        let Event::Code(code) = event else { return true };
        code.split([' ', '=']).all(|word| word.strip_prefix("--").is_none_or(|flag| known.contains(flag)))
    })
}

fn environment(daemon: &Daemon) -> String {
    let name = daemon.name;
    let variables = daemon.schema.iter().map(|setting| format!("`{}`", setting.variable(name)));
    let variables = variables.collect::<Vec<_>>().join(", ");
    format!(
        "\n## Environment\n{TABLE}| {variables} | Each is the setting of that name: see `{name}.toml`(5). Empty ones do not \
         count. |\n"
    )
}

fn files(name: &str) -> String {
    format!(
        "\n## Files\n{TABLE}| `/etc/{name}/{name}.toml` | Settings of the service. |\n\
         | `/usr/share/doc/{name}/examples/` | For Prometheus: configuration, rules, alerts and their tests. For Grafana: a \
         dashboard. |\n\
         | `/usr/share/doc/{name}/runbooks.html` | What each alert means, and what to do. |\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_call_a_daemon_is_a_line() {
        let [_, cliente] = crate::daemons();
        let synopsis = synopsis(&cliente).replace(['`', '*', '\\'], "").replace('\u{a0}', " ");
        let lines: Vec<&str> = synopsis.lines().collect();
        assert_eq!(lines[0], "cliente [--config FILE] [--count N] [--SETTING VALUE]... [HOST:PORT]...");
        assert_eq!(lines[1], "cliente [--SETTING VALUE]... bench [--FLAG VALUE]...");
        assert_eq!(
            lines[2],
            "cliente {--check-config | --default-config | --check-health} [--SETTING VALUE]..."
        );
        assert_eq!(lines.len(), 3);
    }
}
