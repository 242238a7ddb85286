//! Everything that `servidor` counts: name, help, labels and buckets in one place, one function an event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use daemon::histogram::Histogram;
use protocol::{Class, Rejection};

/// Service times are a few microseconds.
const FIRST_BUCKET_NS: u64 = 1000;

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All places are taken, and `overload` is `refuse`.
    Overload,
    /// The peer is in no network of `allow`.
    NotAllowed,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::Overload, Self::NotAllowed];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client closed it.
    Client,
    /// An unterminated request was answered.
    Unterminated,
    /// Nothing was asked for too long.
    Idle,
    /// A line took too long to end.
    SlowLine,
    /// The peer did not read its replies.
    SlowReader,
    /// A line was too long to wait for its end.
    Oversize,
    /// The network, or the peer's reset.
    Io,
    /// The daemon is stopping, and all that had arrived is answered.
    Stopping,
    /// The daemon stopped, and the connection did not end in time.
    Forced,
    /// A fault of this program.
    Panic,
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::Client,
        Self::Unterminated,
        Self::Idle,
        Self::SlowLine,
        Self::SlowReader,
        Self::Oversize,
        Self::Io,
        Self::Stopping,
        Self::Forced,
        Self::Panic,
    ];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Unterminated => "unterminated",
            Self::Idle => "idle",
            Self::SlowLine => "slow_line",
            Self::SlowReader => "slow_reader",
            Self::Oversize => "oversize",
            Self::Io => "io",
            Self::Stopping => "stopping",
            Self::Forced => "forced",
            Self::Panic => "panic",
        }
    }
}

/// What one batch of requests was made of, summed up before it touches anything shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Numbers by [`Class::index`].
    pub numbers: [u64; 3],
    /// Rejections by [`Rejection::index`].
    pub rejected: [u64; 3],
}

impl Tally {
    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.numbers.iter().chain(&self.rejected).sum()
    }
}

/// The counts that the daemon itself tells, beside the recorder, which cannot be read.
#[derive(Debug, Default)]
pub struct Totals {
    connections: AtomicU64,
    numbers: [AtomicU64; 3],
    rejected: AtomicU64,
    forced: AtomicU64,
}

/// Handles to every series.
pub struct Metrics {
    connections: Counter,
    refused: [Counter; 2],
    closed: [Counter; 10],
    accept_errors: Counter,
    numbers: [Counter; 3],
    rejected: [Counter; 3],
    service: Histogram,
    totals: Totals,
}

impl Metrics {
    /// Describes and registers every series, so that each is there from the start.
    pub fn register() -> Self {
        describe_counter!("servidor_connections_total", "Connections accepted and served.");
        describe_counter!("servidor_connections_refused_total", "Connections closed without being served.");
        describe_counter!("servidor_connections_closed_total", "Served connections that ended, by reason.");
        describe_counter!("servidor_accept_errors_total", "Failures to accept a connection.");
        describe_counter!("servidor_numbers_total", "Numbers answered, by class.");
        describe_counter!("servidor_requests_rejected_total", "Requests that were no number, by reason.");
        Self {
            connections: counter!("servidor_connections_total"),
            refused: Refusal::ALL
                .map(|reason| counter!("servidor_connections_refused_total", "reason" => reason.as_str())),
            closed: Reason::ALL
                .map(|reason| counter!("servidor_connections_closed_total", "reason" => reason.as_str())),
            accept_errors: counter!("servidor_accept_errors_total"),
            numbers: Class::ALL.map(|class| counter!("servidor_numbers_total", "class" => class.as_str())),
            rejected: Rejection::ALL
                .map(|reason| counter!("servidor_requests_rejected_total", "reason" => reason.as_str())),
            service: Histogram::new(
                "servidor_service_seconds",
                "Time from the read that completed a request to its reply's write; one sample a batch.",
                FIRST_BUCKET_NS,
            ),
            totals: Totals::default(),
        }
    }

    /// The gauges of the places: taken, and in all.
    pub fn places() -> (Gauge, Gauge) {
        describe_gauge!("servidor_connections_active", "Connections being served.");
        describe_gauge!(
            "servidor_connections_limit",
            "Connections that are served at the same time at most."
        );
        (gauge!("servidor_connections_active"), gauge!("servidor_connections_limit"))
    }

    /// A connection is being served.
    pub fn connection_served(&self) {
        self.connections.increment(1);
        self.totals.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was not served.
    pub fn connection_refused(&self, reason: Refusal) {
        self.refused[reason as usize].increment(1);
    }

    /// A served connection ended.
    pub fn connection_closed(&self, reason: Reason) {
        self.closed[reason as usize].increment(1);
        if reason == Reason::Forced {
            self.totals.forced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection could not be accepted.
    pub fn accept_failed(&self) {
        self.accept_errors.increment(1);
    }

    /// A batch was answered.
    pub fn batch(&self, tally: &Tally) {
        for (index, &count) in tally.numbers.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.numbers[index].increment(count);
            self.totals.numbers[index].fetch_add(count, Ordering::Relaxed);
        }
        for (index, &count) in tally.rejected.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.rejected[index].increment(count);
            self.totals.rejected.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// A batch's replies were written, so long after its read.
    pub fn served_in(&self, time: Duration) {
        self.service.record(time);
    }

    /// The times that [`Metrics::served_in`] has been told.
    pub fn service(&self) -> &Histogram {
        &self.service
    }

    /// The counts so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

impl Totals {
    /// Connections served since the start.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Numbers answered since the start, of one class.
    pub fn numbers(&self, class: Class) -> u64 {
        self.numbers[class.index()].load(Ordering::Relaxed)
    }

    /// Requests rejected since the start.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Connections that did not end in time when the daemon stopped.
    pub fn forced(&self) -> u64 {
        self.forced.load(Ordering::Relaxed)
    }
}
