//! The command line of `cliente bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use daemon::settings::Value as _;
use thiserror::Error;

use super::limit::Limit;
use super::{MOST_CONNECTIONS_PER_SECOND, MOST_DEPTH};
use crate::targets::target::Target;

/// The name of the subcommand.
pub const NAME: &str = "bench";

/// The longest time of a run.
const LONGEST: Duration = Duration::from_hours(24);

/// What was asked for, before the target's name is resolved.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, if one is named.
    pub target: Option<Target>,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
    pub(super) requests: Option<u64>,
    pub(super) warmup: Duration,
    pub(super) keep: bool,
    pub(super) threads: usize,
    /// Whether to print JSON in place of text.
    pub(super) json: bool,
    /// Where to write the distribution.
    pub(super) hdr: Option<PathBuf>,
    /// What fails the run.
    pub(super) limits: Vec<Limit>,
}

/// Flags that do not go together.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OptionsError {
    /// A thread would have nothing to do.
    #[error("--connections {0}: expected at least one for each of {1} threads")]
    TooFewConnections(usize, usize),
    /// More connections than can be opened.
    #[error("--rate {0}: expected at most {MOST_CONNECTIONS_PER_SECOND} with --connection fresh")]
    Rate(f64),
}

/// The subcommand with its flags.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Loads a server, checks each reply, and reports throughput and latencies")
        .after_help(
            "The settings target, connect-timeout and reply-timeout hold here too: give their flags before the word bench.\n\
             Exits with 0 when replies were measured, all were right and no limit of --fail-if was broken; with 1 otherwise.",
        )
        .arg(value("target", "HOST:PORT", "The server to ask [default: the first target of the settings]").value_parser(target))
        .arg(count("connections", "Connections at the same time", 100_000).default_value("50"))
        .arg(count("pipeline", "Requests under way on each connection", MOST_DEPTH as u64).default_value("1"))
        .arg(
            value("rate", "N", "Requests a second, due at fixed times: latencies count from those, so that no stall is hidden. \
                 Without it each connection asks again when it has its reply")
            .value_parser(rate),
        )
        .arg(value("duration", "TIME", "How long to measure").value_parser(time).default_value("10s"))
        .arg(
            value("requests", "N", "Ends after this many requests, in place of a duration; the warm-up's do not count")
                .short('n')
                .value_parser(value_parser!(u64).range(1..))
                .conflicts_with("duration"),
        )
        .arg(value("warmup", "TIME", "How long to ask before that, unmeasured; may be 0s").value_parser(warmup).default_value("1s"))
        .arg(
            value("connection", "WHICH", "kept, or fresh: another for each request, or each batch of a pipeline")
                .value_parser(["fresh", "kept"])
                .hide_possible_values(true)
                .value_hint(ValueHint::Unknown)
                .default_value("kept"),
        )
        .arg(count("threads", "Threads to share the connections", 256).default_value("1"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Prints the report as JSON"))
        .arg(
            value("hdr", "FILE", "Writes the distribution in the text format of HdrHistogram's plotters, in milliseconds")
                .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            value("fail-if", "LIMIT", "Fails the run when this is true, such as 'p99 > 2ms', 'errors > 0.1%' or 'throughput < 10000'; \
                 may be given several times. Without a limit on errors, any error fails it; a wrong reply always does")
            .action(ArgAction::Append)
            .value_parser(str::parse::<Limit>),
        )
}

fn value(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(placeholder)
        .value_hint(ValueHint::Other)
        .allow_hyphen_values(true)
        .help(help)
}

fn count(name: &'static str, help: &'static str, most: u64) -> Arg {
    value(name, "N", help).value_parser(value_parser!(u64).range(1..=most))
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1e8).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.01 to 100000000".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    warmup(text).ok().filter(|time| !time.is_zero()).ok_or_else(|| {
        "expected a duration greater than zero and of at most a day, such as 200ms, 10s or 1m".to_owned()
    })
}

fn warmup(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|&time| time <= LONGEST);
    time.ok_or_else(|| "expected a duration of at most a day, such as 0s, 200ms or 10s".to_owned())
}

impl Options {
    /// What the flags say.
    ///
    /// # Errors
    ///
    /// Flags that do not go together.
    pub fn from_flags(flags: &ArgMatches) -> Result<Self, OptionsError> {
        let count = |name| flags.get_one::<u64>(name).map_or(1, |&count| usize::try_from(count).unwrap_or(1));
        let duration = |name| flags.get_one::<Duration>(name).copied().unwrap_or_default();
        let requests = flags.get_one("requests").copied();
        let options = Self {
            target: flags.get_one("target").cloned(),
            connections: count("connections"),
            pipeline: count("pipeline"),
            rate: flags.get_one("rate").copied(),
            duration: if requests.is_some() { LONGEST } else { duration("duration") },
            requests,
            warmup: duration("warmup"),
            keep: flags.get_one::<String>("connection").is_none_or(|which| which == "kept"),
            threads: count("threads"),
            json: flags.get_flag("json"),
            hdr: flags.get_one("hdr").cloned(),
            limits: flags.get_many("fail-if").into_iter().flatten().cloned().collect(),
        };
        let Self { connections, threads, .. } = options;
        if connections < threads {
            return Err(OptionsError::TooFewConnections(connections, threads));
        }
        let most = f64::from(MOST_CONNECTIONS_PER_SECOND);
        match options.rate {
            Some(rate) if !options.keep && rate > most => Err(OptionsError::Rate(rate)),
            _ => Ok(options),
        }
    }
}
