//! What one target counts: one function for each event.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use daemon::clock::Moment;
use daemon::metrics::histogram::{Bounds, Samples, whole_nanoseconds, write_total};
use daemon::sync::Mutex;
use daemon::sync::atomic::{AtomicU64, Ordering::Relaxed};
use protocol::{Class, Number};

use crate::round::Outcome;
use crate::round::reason::Reason;

/// The counts of one target.
#[derive(Debug)]
pub(crate) struct TargetMetrics {
    /// The labels of its series, in the form that the exposition format has between braces.
    pub(super) labels: String,
    pub(super) connections: AtomicU64,
    pub(super) rounds: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) disturbed: AtomicU64,
    pub(super) failures: [AtomicU64; Reason::ALL.len()],
    pub(super) numbers: [AtomicU64; Class::ALL.len()],
    pub(super) resolve: Total,
    pub(super) connect: Times,
    pub(super) round_trip: Times,
    /// The [`Moment`] in nanoseconds, 0 before the first.
    last_success: AtomicU64,
    pub(super) up: AtomicU64,
    /// The address that the last round used, if it is known.
    address: Mutex<Option<SocketAddr>>,
    bounds: Arc<Bounds>,
    /// Those that share its histograms, with `detail = compact`.
    pub(super) group: Option<Arc<Group>>,
}

/// The sum and the count of times.
#[derive(Debug, Default)]
pub(super) struct Total {
    sum_ns: AtomicU64,
    count: AtomicU64,
}

/// The times of one phase.
#[derive(Debug)]
pub(super) enum Times {
    /// In a histogram of the target's own.
    Samples(Box<Samples>),
    /// Their sum and count; the histogram is the group's.
    Total(Total),
}

/// The histograms of all targets that have the same labels.
#[derive(Debug)]
pub(super) struct Group {
    /// The labels, in the form that the exposition format has between braces.
    pub(super) labels: String,
    pub(super) connect: Samples,
    pub(super) round_trip: Samples,
}

impl Group {
    pub(super) fn new(labels: String) -> Self {
        Self { labels, connect: Samples::default(), round_trip: Samples::default() }
    }
}

impl TargetMetrics {
    /// All zero, of a target whose `address` may be known. The histograms are those of `group`, or the target's own.
    pub(super) fn new(
        labels: String,
        address: Option<SocketAddr>,
        bounds: Arc<Bounds>,
        group: Option<Arc<Group>>,
    ) -> Self {
        let times = || match group {
            Some(_) => Times::Total(Total::default()),
            None => Times::Samples(Box::default()),
        };
        Self {
            labels,
            connections: AtomicU64::default(),
            rounds: AtomicU64::default(),
            skipped: AtomicU64::default(),
            disturbed: AtomicU64::default(),
            failures: Default::default(),
            numbers: Default::default(),
            resolve: Total::default(),
            connect: times(),
            round_trip: times(),
            last_success: AtomicU64::default(),
            up: AtomicU64::default(),
            address: Mutex::new(address),
            bounds,
            group,
        }
    }

    pub(crate) fn begun(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    pub(crate) fn skipped(&self, ticks: u64) {
        self.skipped.fetch_add(ticks, Relaxed);
    }

    pub(crate) fn finished(&self, number: &Number, outcome: &Outcome) {
        if outcome.address.is_some() {
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = outcome.address;
        }
        if outcome.disturbed.is_some() {
            self.disturbed.fetch_add(1, Relaxed);
            return;
        }
        if let Some(resolve) = outcome.resolve {
            self.resolve.add(resolve);
        }
        if let Some(connect) = outcome.connect {
            self.connections.fetch_add(1, Relaxed);
            self.record(connect, &self.connect, |group| &group.connect);
        }
        match &outcome.result {
            Ok(round_trip) => {
                self.numbers[number.class().index()].fetch_add(1, Relaxed);
                self.record(*round_trip, &self.round_trip, |group| &group.round_trip);
                self.last_success.store(whole_nanoseconds(Moment::now().0), Relaxed);
                self.up.store(1, Relaxed);
            }
            Err(failure) => {
                self.failures[failure.reason().index()].fetch_add(1, Relaxed);
                self.up.store(0, Relaxed);
            }
        }
    }

    /// The address that the last round used, if there is one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last right reply came; nothing before the first.
    pub(super) fn last_success(&self) -> Option<Moment> {
        let nanoseconds = self.last_success.load(Relaxed);
        (nanoseconds > 0).then(|| Moment(Duration::from_nanos(nanoseconds)))
    }

    /// The counts of rounds.
    #[cfg(feature = "simulation")]
    pub(super) fn reading(&self) -> crate::simulation::oracle::reading::Reading {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let failures = Reason::ALL
            .iter()
            .zip(&self.failures)
            .map(|(reason, failures)| (reason.as_str(), count(failures)));
        crate::simulation::oracle::reading::Reading {
            rounds: count(&self.rounds),
            right: self.numbers.iter().map(count).sum(),
            disturbed: count(&self.disturbed),
            skipped: count(&self.skipped),
            connections: count(&self.connections),
            failures: failures.filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn record(&self, time: Duration, own: &Times, of_group: fn(&Group) -> &Samples) {
        let bucket = self.bounds.bucket(time);
        match own {
            Times::Samples(samples) => samples.add(bucket, time),
            Times::Total(total) => total.add(time),
        }
        if let Some(group) = &self.group {
            of_group(group).add(bucket, time);
        }
    }
}

impl Total {
    fn add(&self, time: Duration) {
        self.sum_ns.fetch_add(whole_nanoseconds(time), Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn write(&self, text: &mut String, name: &str, labels: &str) {
        write_total(text, name, labels, self.sum_ns.load(Relaxed), self.count.load(Relaxed));
    }
}
