//! The settings of `cliente`: each is declared once, with its default, its manual and its type.

mod flags;
mod values;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use daemon::open_files::allow_open_files_between;
use daemon::settings::{ClaimError, Period, Program, Value as _};

pub use self::flags::{Limited, limited};
use self::flags::{add_flags, implied};
pub use self::values::{Addresses, Buckets, Connection, Detail, FanOut, Node, SourceAddress, Targets};
use crate::resolve::{Family, Wanted};
use crate::round::Options;
use crate::targets::file::TargetFile;
use crate::targets::labels::{Labelled, Labels};
use crate::targets::subset;
use crate::targets::target::Target;

/// The name of the daemon, and the part of its command line that is its own.
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
    /// The settings that only `cliente` has.
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
        /// How many of the targets this client probes; `all`, or a number, for fleets in which every host has a client. Which
        /// ones depends on the names of the client and of the targets: each target is probed by about as many clients, and
        /// when one comes or goes only a few clients choose another. A client does not choose its own host.
        fan_out: FanOut = "all", Live;
        /// The name of this client for `fan-out`: that of its host, or its address, as the other clients' targets have it.
        /// `auto` is the host's name.
        node: Node = "auto", Live;
        /// From one round's start to the next, at a fixed rate. Ticks that fall due while the target's last round
        /// runs, or that are a whole interval late, are skipped and counted.
        interval: Period = "10s", Live;
        /// `fresh` connects for each round; `kept` keeps one connection, and connects anew when it fails. With `kept`,
        /// keep `interval` below the server's `idle-timeout`, or its FIN may race with a request.
        connection: Connection = "fresh", Live;
        /// Which addresses of a name are used. With `any`, both families take turns, 250 ms apart, and the first that
        /// accepts is used: RFC 8305.
        address_family: Family = "any", Live;
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
        let (most, targets) = (targets.iter().map(files_of).sum::<u64>(), targets.len() as u64);
        let fan_out = settings.fan_out.0.map_or(u64::MAX, |fan_out| fan_out.get().into());
        let (most, targets) = (most.min(fan_out.saturating_mul(FILES_OF_A_NAME)), targets.min(fan_out));
        // Hardly ever do all targets need more than one file at once.
        let least = targets + OTHER_FILES;
        allow_open_files_between(least, most + OTHER_FILES).map_err(|error| ClaimError { setting: "target and target-file", value: format!("{targets} targets"), error })
    }
}

impl Own {
    /// The servers to probe, with the labels of their series.
    pub fn targets(&self) -> Vec<Labelled> {
        let labels = Arc::new(Labels::default());
        let labelled = |target: &Target| Labelled { target: target.clone(), labels: Arc::clone(&labels) };
        let unlabelled = self.target.as_slice().iter().map(labelled);
        unlabelled.chain(self.target_file.targets().iter().cloned()).collect()
    }

    /// Those of `targets` that this client probes.
    pub(crate) fn choose(&self, targets: Vec<Labelled>) -> Vec<Labelled> {
        match self.fan_out.0 {
            Some(fan_out) => subset::choose(&self.node.name(), fan_out, targets),
            None => targets,
        }
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
            family: self.address_family,
            source: self.source_address.0,
            max_age: self.resolve_max_age.get(),
        }
    }
}
