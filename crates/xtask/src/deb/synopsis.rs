//! The ways to call a daemon, for its man page.

use clap::{Arg, ArgAction, Command};
use daemon::settings::Setting;
use roff::{Inline, Roff, bold, italic, roman};

/// A space at which no line ends.
const TOGETHER: &str = "\u{a0}";

/// Adds a line for a run, one for each subcommand, and one for the flags that print something and exit.
pub(super) fn synopsis(page: &mut Roff, command: &Command, schema: &[Setting]) {
    page.control("SH", ["SYNOPSIS"]);
    let is_setting =
        |flag: &&Arg| schema.iter().any(|setting| flag.get_long() == Some(setting.name.as_str()));
    let others = command.get_arguments().filter(|flag| !is_setting(flag));
    let (switches, valued): (Vec<&Arg>, Vec<&Arg>) =
        others.partition(|flag| !flag.get_action().takes_values());

    let mut run = name(command);
    for flag in valued {
        let value =
            flag.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
        run.extend([roman(" ["), bold(long(flag)), roman(TOGETHER), italic(value), roman("]")]);
    }
    run.extend(flags("SETTING"));
    page.text(run);

    for subcommand in command.get_subcommands() {
        let mut line = name(command);
        line.extend(flags("SETTING"));
        line.extend([roman(" "), bold(subcommand.get_name())]);
        line.extend(flags("FLAG"));
        page.control("br", []).text(line);
    }

    let mut line = name(command);
    for (index, flag) in
        switches.into_iter().filter(|flag| matches!(flag.get_action(), ArgAction::SetTrue)).enumerate()
    {
        line.extend([roman(if index == 0 { " {" } else { " | " }), bold(long(flag))]);
    }
    line.push(roman("}"));
    line.extend(flags("SETTING"));
    page.control("br", []).text(line);
}

fn name(command: &Command) -> Vec<Inline> {
    vec![bold(command.get_name())]
}

fn long(flag: &Arg) -> String {
    format!("--{}", flag.get_long().unwrap_or_default())
}

/// Any number of flags of a kind.
fn flags(kind: &str) -> [Inline; 5] {
    [roman(" ["), bold(format!("--{kind}")), roman(TOGETHER), italic("VALUE"), roman("]...")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_call_it_is_a_line() {
        let flag = |name: &'static str| Arg::new(name).long(name).value_name("N");
        let command = Command::new("x")
            .arg(flag("count"))
            .arg(Arg::new("check").long("check").action(ArgAction::SetTrue))
            .subcommand(Command::new("bench"));
        let mut page = Roff::new();
        synopsis(&mut page, &command, &[]);
        let lines = ["\\fB", "\\fI", "\\fR"].iter().fold(page.to_roff(), |text, font| text.replace(font, ""));
        let lines = lines.replace("\\-", "-").replace(TOGETHER, " ");
        let setting = "[--SETTING VALUE]...";
        assert!(lines.contains(&format!("x [--count N] {setting}")), "{lines}");
        assert!(lines.contains(&format!("x {setting} bench [--FLAG VALUE]...")), "{lines}");
        assert!(lines.contains(&format!("x {{--check}} {setting}")), "{lines}");
    }
}
