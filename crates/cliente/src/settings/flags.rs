//! The flags of `cliente` that are no settings.

use clap::builder::TypedValueParser as _;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use daemon::settings::{Implied, Suggestions, Value as _};

use crate::bench;
use crate::targets::target::Target;

/// A run of a limited number of rounds, and how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// How many rounds each target gets.
    pub rounds: u64,
    /// Whether only the summary is printed.
    pub quiet: bool,
    /// Whether JSON is printed in place of text.
    pub json: bool,
}

/// The limited run that the flags ask for, if they do.
pub fn limited(flags: &ArgMatches) -> Option<Limited> {
    let rounds = flags.get_one("count").copied()?;
    Some(Limited { rounds, quiet: flags.get_flag("quiet"), json: flags.get_flag("json") })
}

pub(super) fn add_flags(command: Command) -> Command {
    let command = command.subcommand(bench::flags::command()).disable_help_subcommand(true);
    let switch = |name| Arg::new(name).long(name).action(ArgAction::SetTrue).requires("count");
    let target = |text: String| Target::parse(&text);
    command
        .arg(
            Arg::new(TARGETS)
                .value_name("HOST:PORT")
                .value_hint(ValueHint::Other)
                .action(ArgAction::Append)
                .value_parser(Suggestions(&[]).try_map(target))
                .conflicts_with("target")
                .help("The servers to ask, in place of --target"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_hint(ValueHint::Other)
                .allow_negative_numbers(true)
                .value_parser(value_parser!(u64).range(1..))
                .help("Stops after N rounds per target; prints each, and a summary, like ping"),
        )
        .next_help_heading("With --count")
        .arg(switch("quiet").short('q').help("Prints only the summary"))
        .arg(
            switch("json")
                .help("Prints a JSON object for each round and one for the summary, each on a line"),
        )
}

/// The targets that are no flag's.
const TARGETS: &str = "targets";

/// A limited run may have a daemon beside it, in whose environment it was started, and a person reads its report, which
/// has a line for each round.
pub(super) fn implied(flags: &ArgMatches) -> Vec<Implied> {
    let implied = |setting, value: &str, wins| Implied { setting, value: value.to_owned(), wins };
    let mut all = Vec::new();
    if let Some(targets) = flags.get_many::<Target>(TARGETS) {
        let targets: Vec<&str> = targets.map(Target::as_str).collect();
        all.push(implied("target", &targets.join(","), true));
    }
    if limited(flags).is_some() {
        all.push(implied("metrics-listen", "off", true));
        all.push(implied("log-level", "warn,cliente::observe=error", true));
        all.push(implied("interval", "1s", false));
    }
    all
}
