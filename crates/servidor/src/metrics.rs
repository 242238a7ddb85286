//! Everything that `servidor` counts: name, help, labels and buckets in one place, one function an event.
//!
//! The counts are our own, and the recorder is told of them when it is asked: the data path pays for one addition each,
//! and the daemon can tell its counts elsewhere too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, gauge};
use daemon::histogram::Histogram;
use protocol::{Class, Rejection};

use crate::places::Places;

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

/// A count.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    #[inline]
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts.
#[derive(Debug)]
pub struct Metrics {
    connections: Count,
    refused: [Count; 2],
    closed: [Count; 10],
    accept_errors: Count,
    numbers: [Count; 3],
    rejected: [Count; 3],
    service: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Count::default(),
            refused: Default::default(),
            closed: Default::default(),
            accept_errors: Count::default(),
            numbers: Default::default(),
            rejected: Default::default(),
            service: Histogram::new(
                "servidor_service_seconds",
                "Time from the read that completed a request to its reply's write; one sample a batch.",
                FIRST_BUCKET_NS,
            ),
        }
    }
}

impl Metrics {
    /// A connection is being served.
    pub fn connection_served(&self) {
        self.connections.add(1);
    }

    /// A connection was not served.
    pub fn connection_refused(&self, reason: Refusal) {
        self.refused[reason as usize].add(1);
    }

    /// A served connection ended.
    pub fn connection_closed(&self, reason: Reason) {
        self.closed[reason as usize].add(1);
    }

    /// A connection could not be accepted.
    pub fn accept_failed(&self) {
        self.accept_errors.add(1);
    }

    /// A batch was answered.
    pub fn batch(&self, tally: &Tally) {
        let numbers = self.numbers.iter().zip(tally.numbers);
        let rejected = self.rejected.iter().zip(tally.rejected);
        for (count, more) in numbers.chain(rejected).filter(|(_, more)| *more > 0) {
            count.add(more);
        }
    }

    /// A batch's replies were written, so long after its read.
    pub fn served_in(&self, time: Duration) {
        self.service.record(time);
    }

    /// Connections served since the start.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// Numbers answered since the start, of one class.
    pub fn numbers(&self, class: Class) -> u64 {
        self.numbers[class.index()].get()
    }

    /// Requests rejected since the start.
    pub fn rejected(&self) -> u64 {
        self.rejected.iter().map(Count::get).sum()
    }

    /// Connections that did not end in time when the daemon stopped.
    pub fn forced(&self) -> u64 {
        self.closed[Reason::Forced as usize].get()
    }

    /// Tells the recorder of all counts, so that each series is there however often it has counted; returns what it
    /// does not keep, in the exposition format.
    #[expect(clippy::cast_precision_loss, reason = "gauges; the limit is far below 2^52")]
    pub fn show(&self, places: &Places) -> String {
        describe_counter!("servidor_connections_total", "Connections accepted and served.");
        counter!("servidor_connections_total").absolute(self.connections.get());

        describe_gauge!("servidor_connections_active", "Connections being served.");
        gauge!("servidor_connections_active").set(places.active() as f64);

        describe_gauge!(
            "servidor_connections_limit",
            "Connections that are served at the same time at most."
        );
        gauge!("servidor_connections_limit").set(places.limit() as f64);

        describe_counter!("servidor_connections_refused_total", "Connections closed without being served.");
        for reason in Refusal::ALL {
            let count = self.refused[reason as usize].get();
            counter!("servidor_connections_refused_total", "reason" => reason.as_str()).absolute(count);
        }

        describe_counter!("servidor_connections_closed_total", "Served connections that ended, by reason.");
        for reason in Reason::ALL {
            let count = self.closed[reason as usize].get();
            counter!("servidor_connections_closed_total", "reason" => reason.as_str()).absolute(count);
        }

        describe_counter!("servidor_accept_errors_total", "Failures to accept a connection.");
        counter!("servidor_accept_errors_total").absolute(self.accept_errors.get());

        describe_counter!("servidor_numbers_total", "Numbers answered, by class.");
        for class in Class::ALL {
            counter!("servidor_numbers_total", "class" => class.as_str()).absolute(self.numbers(class));
        }

        describe_counter!("servidor_requests_rejected_total", "Requests that were no number, by reason.");
        for reason in Rejection::ALL {
            let count = self.rejected[reason.index()].get();
            counter!("servidor_requests_rejected_total", "reason" => reason.as_str()).absolute(count);
        }

        self.service.to_string()
    }
}
