//! What `cliente` can be told: each setting declared once, with its default, its manual and its type.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use daemon::metrics::histogram::{Bounds, MAX_BUCKETS};
use daemon::open_files::allow_open_files_between;
use daemon::settings::{ClaimError, Implied, List, Period, Program, Suggestions, Value};

use crate::bench;
use crate::resolve::{Family, Wanted};
use crate::round::Options;
use crate::targets::file::TargetFile;
use crate::targets::labels::Labelled;
use crate::targets::labels::Labels;
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

/// What a target with an address has open at most: its connection, and the last one while that closes.
const FILES_OF_AN_ADDRESS: u64 = 2;
/// What a target with a name has open at most: two questions to each of three name servers, or attempts to connect.
const FILES_OF_A_NAME: u64 = 8;
/// Files that are open beside these: the HTTP side, the log, the runtimes, control rounds.
const OTHER_FILES: u64 = 256;

/// All settings of the daemon.
pub type Settings = daemon::settings::Settings<Own>;

daemon::settings! {
    /// What only `cliente` can be told.
    pub struct Own {
        /// The servers to probe, each as host:port, or as srv:NAME for the hosts in the SRV records of a service. Names are
        /// looked up in the hosts file and by the name servers of resolv.conf, both of which are read again when they
        /// change. Names that only NSS knows (mDNS, LDAP, the host names of systemd-resolved) are not found. The packaged
        /// service reaches this host only: each other address, those of name servers included, must be in
        /// `IPAddressAllow=` of a drop-in too, or its rounds fail with `connect_timeout` or `resolve`; see cliente(8).
        target: Targets = "127.0.0.1:8888", Live;
        /// A file with more servers to probe, in the format of Prometheus' file_sd, in JSON:
        /// `[{"targets": ["host:8888"], "labels": {"zone": "a"}}]`. The labels, at most 8, are on every series of their
        /// targets. The file is read again when it changes; one that is wrong changes nothing. With a file, `target` has no
        /// default.
        target_file: TargetFile = "", Live;
        /// From one round's start to the next, at a fixed rate. Ticks that fall due while the target's last round
        /// runs, or that are a whole interval late, are skipped and counted.
        interval: Period = "10s", Live;
        /// `fresh` connects for each round; `kept` keeps one connection, and connects anew when it fails. With `kept`,
        /// keep `interval` below the server's `idle-timeout`, or its FIN may race with a request.
        connection: Connection = "fresh", Live;
        /// Which addresses of a name are used. With `any`, both families take turns, 250 ms apart, and the first that
        /// accepts is used: RFC 8305.
        address_family: AddressFamily = "any", Live;
        /// Whether a target is the `first` of its name's addresses that accepts, or `all` of them: then each address is a
        /// target of its own, whose `server` is `host:port/address`, and they come and go as the name changes.
        addresses: Addresses = "first", Live;
        /// The address of this host that rounds are made from, or `none` for the one that the kernel chooses. Addresses
        /// of the other family are then left out.
        source_address: SourceAddress = "none", Live;
        /// How long the addresses of a name are used at most before it is looked up again; less if their TTL is shorter.
        /// A failed round, or a server that stops, asks anew.
        resolve_max_age: Period = "10s", Live;
        /// How long connecting may take, over all addresses of the name; resolving the name may take as long again.
        connect_timeout: Period = "3s", Live;
        /// How long the reply may take, from the request on.
        reply_timeout: Period = "3s", Live;
        /// A round during which this process was kept from running (stopped, frozen, throttled, or waiting for a processor) for
        /// at least so long, and for half of a phase or past its timeout, is *disturbed*: neither right nor failed.
        stall_threshold: Period = "1ms", Live;
        /// How long a stop waits for a round under way.
        drain_timeout: Period = "5s", Live;
        /// How many series a target has in the metrics. `full`: at most 70, with histograms of its own. `compact`, for very many
        /// targets: at most 28, without histograms; these are shared by all targets that have the same labels.
        detail: Detail = "full", Restart;
        /// The upper bounds of the buckets in the histograms of connecting and of round trips, in ascending order.
        buckets: Buckets = "10us, 20us, 50us, 100us, 200us, 500us, 1ms, 2ms, 5ms, 10ms, 20ms, 50ms, 100ms, 200ms, 500ms, 1s, 2s, 5s", Restart;
    }
    settle(settings) {
        if settings.target.is_default && settings.target_file.path().is_some() {
            settings.target = Targets::default();
        }
    }
    files(settings) {
        settings.target_file.path().map(Path::to_owned).into_iter().collect()
    } {
        let settings = Self { target_file: settings.target_file.read_again()?, ..settings.clone() };
        let faults = settings.faults_of_targets();
        if faults.is_empty() { Ok(settings) } else { Err(faults.join("; ")) }
    }
    contradictions(settings, _common) {
        settings.faults_of_targets()
    }
    claim(settings, _common) {
        let targets = settings.targets();
        let files_of =
            |labelled: &Labelled| if labelled.target.is_name() { FILES_OF_A_NAME } else { FILES_OF_AN_ADDRESS };
        let (most, targets) = (targets.iter().map(files_of).sum::<u64>(), targets.len());
        // Hardly ever do all targets need more than one file at once.
        let least = targets as u64 + OTHER_FILES;
        allow_open_files_between(least, most + OTHER_FILES).map_err(|error| ClaimError { setting: "target and target-file", value: format!("{targets} targets"), error })
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
    /// Whom to ask, with the labels of their series.
    pub fn targets(&self) -> Vec<Labelled> {
        let labels = Arc::new(Labels::default());
        let labelled = |target: &Target| Labelled { target: target.clone(), labels: Arc::clone(&labels) };
        let unlabelled = self.target.as_slice().iter().map(labelled);
        unlabelled.chain(self.target_file.targets().iter().cloned()).collect()
    }

    /// What is wrong with `target` and `target-file` together.
    fn faults_of_targets(&self) -> Vec<String> {
        let path = self.target_file.to_toml();
        let targets = self.targets();
        if targets.is_empty() {
            return vec![format!("target = [] and target-file = {path}: expected at least one target")];
        }
        let mut known = HashSet::new();
        let twice = targets.iter().map(|labelled| &labelled.target).filter(|target| !known.insert(*target));
        twice.map(|target| format!("target-file = {path}: \"{target}\" is given twice")).collect()
    }

    /// How a round is made.
    pub fn round_options(&self) -> Options {
        Options {
            connect_timeout: self.connect_timeout.get(),
            reply_timeout: self.reply_timeout.get(),
            stall_threshold: self.stall_threshold.get(),
            keep: self.connection == Connection::Kept,
            wanted: self.wanted(),
        }
    }

    /// Which addresses may be used.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            family: self.address_family.0,
            source: self.source_address.0,
            max_age: self.resolve_max_age.get(),
        }
    }
}

/// The family that addresses must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFamily(Family);

impl Value for AddressFamily {
    const EXPECTED: &'static str = "any, ipv4 or ipv6";
    const SUGGESTIONS: &'static [&'static str] = &["any", "ipv4", "ipv6"];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self(Family::Any)),
            "ipv4" => Ok(Self(Family::Ipv4)),
            "ipv6" => Ok(Self(Family::Ipv6)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }

    fn to_toml(&self) -> String {
        let text = match self.0 {
            Family::Any => "any",
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        format!("{text:?}")
    }
}

/// Which addresses of a name are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The first that accepts.
    First,
    /// Each as a target of its own.
    All,
}

impl Value for Addresses {
    const EXPECTED: &'static str = "first or all";
    const SUGGESTIONS: &'static [&'static str] = &["first", "all"];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "all" => Ok(Self::All),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::First => r#""first""#.to_owned(),
            Self::All => r#""all""#.to_owned(),
        }
    }
}

/// The address that rounds are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddress(Option<IpAddr>);

impl Value for SourceAddress {
    const EXPECTED: &'static str = "an address of this host, such as 192.0.2.7 or 2001:db8::7, or none";
    const SUGGESTIONS: &'static [&'static str] = &["none"];

    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| format!("expected {}", Self::EXPECTED))
    }

    fn to_toml(&self) -> String {
        let text = self.0.map_or_else(|| "none".to_owned(), |address| address.to_string());
        format!("{text:?}")
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

/// How many series a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// With histograms of its own.
    Full,
    /// With histograms that it shares with all targets of the same labels.
    Compact,
}

impl Value for Detail {
    const EXPECTED: &'static str = "full or compact";
    const SUGGESTIONS: &'static [&'static str] = &["full", "compact"];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "compact" => Ok(Self::Compact),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Full => r#""full""#.to_owned(),
            Self::Compact => r#""compact""#.to_owned(),
        }
    }
}

/// The upper bounds of a histogram's buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Vec<Duration>);

impl Buckets {
    const SHORTEST: Duration = Duration::from_micros(1);
    const LONGEST: Duration = Duration::from_hours(1);

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds::new(self.0.iter().map(|bound| daemon::metrics::histogram::whole_nanoseconds(*bound)))
    }
}

impl Value for Buckets {
    const EXPECTED: &'static str = "a duration from 1us to 1h, such as 500us, 20ms or 1s";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let mut bounds: Vec<Duration> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let bound = humantime::parse_duration(item).ok();
            let bound = bound.filter(|bound| (Self::SHORTEST..=Self::LONGEST).contains(bound));
            let bound = bound.ok_or_else(|| format!("{item:?}: expected {}", Self::EXPECTED))?;
            if bounds.last().is_some_and(|last| *last >= bound) {
                return Err(format!("{item:?}: expected a bound above the one before it"));
            }
            bounds.push(bound);
        }
        if bounds.len() > MAX_BUCKETS {
            return Err(format!("expected at most {MAX_BUCKETS} bounds, not {}", bounds.len()));
        }
        Ok(Self(bounds))
    }

    fn to_toml(&self) -> String {
        let bounds = self.0.iter().map(|bound| format!("\"{}\"", humantime::format_duration(*bound)));
        format!("[{}]", bounds.collect::<Vec<_>>().join(", "))
    }
}

/// The targets that settings name one by one.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    targets: Vec<Target>,
    /// Whether nobody named them.
    is_default: bool,
}

impl Targets {
    /// The targets, in the order given.
    pub fn as_slice(&self) -> &[Target] {
        &self.targets
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.targets == other.targets
    }
}

impl Value for Targets {
    const EXPECTED: &'static str = Target::EXPECTED;
    const LIST: bool = true;
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let targets = if text.is_empty() { Vec::new() } else { List::parse(text)?.as_slice().to_vec() };
        Ok(Self { targets, is_default: false })
    }

    fn parse_default(text: &str) -> Result<Self, String> {
        Ok(Self { is_default: true, ..Self::parse(text)? })
    }

    fn to_toml(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(Value::to_toml).collect();
        format!("[{}]", targets.join(", "))
    }
}

impl Value for Target {
    const EXPECTED: &'static str = "a host and a port, such as 127.0.0.1:8888, [::1]:8888 or servidor.example:8888, or srv:_canary._tcp.example";

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
