//! What `cliente` can be told: each setting declared once, with its default, its manual and its type.

use clap::builder::TypedValueParser as _;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use daemon::settings::{Implied, List, Period, Program, Suggestions, Value};

use crate::bench;
use crate::round::Options;
use crate::targets::target::Target;

/// What the daemon is called, and what is its own about its command line.
pub const PROGRAM: Program = Program {
    name: "cliente",
    about: "Asks servidor about random integers, checks the answers and measures the round trips",
    extra: add_flags,
    // One thread measures best: no round trip includes the wake-up of another.
    defaults: &[("metrics-listen", "127.0.0.1:9889"), ("worker-threads", "1")],
    implied,
};

/// All settings of the daemon.
pub type Settings = daemon::settings::Settings<Own>;

daemon::settings! {
    /// What only `cliente` can be told.
    pub struct Own {
        /// The servers to ask, each as host:port. Names are resolved anew each round. The packaged service reaches this
        /// host only: each other address must be in `IPAddressAllow=` of a drop-in too, or its rounds fail with
        /// `connect_timeout`; see cliente(8).
        target: List<Target> = "127.0.0.1:8888", Live;
        /// From one round's start to the next, at a fixed rate. Ticks that fall due while the target's last round
        /// runs, or that are a whole interval late, are skipped and counted.
        interval: Period = "10s", Live;
        /// `fresh` connects for each round; `kept` keeps one connection, and connects anew when it fails. With `kept`,
        /// keep `interval` below the server's `idle-timeout`, or its FIN may race with a request.
        connection: Connection = "fresh", Live;
        /// How long connecting may take, over all addresses of the name; resolving the name may take as long again.
        connect_timeout: Period = "3s", Live;
        /// How long the reply may take, from the request on.
        reply_timeout: Period = "3s", Live;
        /// A round during which this process was kept from running (stopped, frozen, throttled, or waiting for a processor) for
        /// at least so long, and for half of a phase or past its timeout, is *disturbed*: neither right nor failed.
        stall_threshold: Period = "1ms", Live;
        /// How long a stop waits for a round under way.
        drain_timeout: Period = "5s", Live;
    }
}

/// Which connection a round uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One of its own, as the original program does.
    Fresh,
    /// That of the round before, if it lives.
    Kept,
}

impl Own {
    /// How a round is made.
    pub fn round_options(&self) -> Options {
        Options {
            connect_timeout: self.connect_timeout.get(),
            reply_timeout: self.reply_timeout.get(),
            stall_threshold: self.stall_threshold.get(),
            keep: self.connection == Connection::Kept,
        }
    }
}

impl Value for Connection {
    const EXPECTED: &'static str = "fresh or kept";
    const SUGGESTIONS: &'static [&'static str] = &["fresh", "kept"];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "fresh" => Ok(Self::Fresh),
            "kept" => Ok(Self::Kept),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Fresh => r#""fresh""#.to_owned(),
            Self::Kept => r#""kept""#.to_owned(),
        }
    }
}

impl Value for Target {
    const EXPECTED: &'static str =
        "a host and a port, such as 127.0.0.1:8888, [::1]:8888 or servidor.example:8888";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}", Self::EXPECTED))
    }

    fn to_toml(&self) -> String {
        format!("{:?}", self.as_str())
    }
}

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

fn add_flags(command: Command) -> Command {
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
fn implied(flags: &ArgMatches) -> Vec<Implied> {
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
