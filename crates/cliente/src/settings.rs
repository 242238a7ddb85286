//! What `cliente` can be told: each setting declared once, with its default, its manual and its type.

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use daemon::settings::{Defaults, List, Period, Program, Value};

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

/// How many rounds a target is asked, if `--count` says so.
pub fn count(flags: &ArgMatches) -> Option<u64> {
    flags.get_one("count").copied()
}

fn add_flags(command: Command) -> Command {
    let command = command.subcommand(bench::flags::command()).disable_help_subcommand(true);
    command.arg(
        Arg::new("count")
            .long("count")
            .value_name("N")
            .value_hint(ValueHint::Other)
            .allow_negative_numbers(true)
            .value_parser(value_parser!(u64).range(1..))
            .help("Stops after N rounds per target; prints each, and a summary, like ping"),
    )
}

/// A limited run may have a daemon beside it, in whose environment it was started, and a person reads its report.
fn implied(flags: &ArgMatches) -> Defaults {
    if count(flags).is_some() { &[("metrics-listen", "off"), ("log-level", "warn")] } else { &[] }
}
