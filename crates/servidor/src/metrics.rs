//! The metrics of `servidor`: their names, help texts, labels and buckets, and one function for each event.
//!
//! Each event loop has its own counters, on its own cache lines. They are summed and passed to the recorder on request.

use std::time::Duration;

use ::metrics::{counter, gauge};
use daemon::label;
use daemon::metrics::histogram::{Histogram, Samples};
use daemon::sync::atomic::{AtomicU64, Ordering};
use protocol::{Class, Rejection};

use crate::limit::ConnectionLimit;

/// Service times are a few microseconds.
const FIRST_BUCKET_NS: u64 = 1000;

label! {
    /// Why a connection was not served.
    pub enum Refusal {
        /// All permits are taken, and `overload` is `refuse`.
        Overload = "overload",
        /// The peer is in no network of `allow`.
        NotAllowed = "not_allowed",
    }
}

label! {
    /// Why a connection ended.
    pub enum CloseReason {
        /// The client closed it.
        Client = "client",
        /// An unterminated request was answered.
        Unterminated = "unterminated",
        /// The peer sent nothing for too long.
        Idle = "idle",
        /// A line took too long to end.
        SlowLine = "slow_line",
        /// The peer did not read its replies.
        SlowReader = "slow_reader",
        /// A line was too long.
        Oversize = "oversize",
        /// A network error or a reset by the peer.
        Io = "io",
        /// A reload removed the peer's network from `allow`.
        NotAllowed = "not_allowed",
        /// The daemon is stopping, and all requests that had arrived are answered.
        Stopping = "stopping",
        /// The daemon stopped, and the connection did not end in time.
        Forced = "forced",
        /// A bug of this program.
        Panic = "panic",
    }
}

/// The requests of one batch, counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Numbers by [`Class::index`].
    pub(crate) numbers: [u64; 3],
    /// Rejections by [`Rejection::index`].
    pub(crate) rejected: [u64; 3],
}

impl Tally {
    /// How many requests there were.
    pub(crate) fn requests(&self) -> u64 {
        self.numbers.iter().chain(&self.rejected).sum()
    }
}

/// The counters of one event loop.
#[derive(Debug, Default)]
// Two cache lines, because the processor fetches them in pairs.
#[repr(align(128))]
pub(crate) struct LoopMetrics {
    /// Its connections, including those that are still in its inbox.
    active: AtomicU64,
    connections: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    closed: [AtomicU64; CloseReason::ALL.len()],
    accept_errors: AtomicU64,
    numbers: [AtomicU64; 3],
    rejected: [AtomicU64; 3],
    service: Samples,
}

impl LoopMetrics {
    /// A connection is being served.
    pub(crate) fn connection_served(&self) {
        add(&self.active, 1);
        add(&self.connections, 1);
    }

    /// How many connections are being served.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// A connection was not served.
    pub(crate) fn connection_refused(&self, reason: Refusal) {
        add(&self.refused[reason.index()], 1);
    }

    /// A served connection ended.
    pub(crate) fn connection_closed(&self, reason: CloseReason) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        add(&self.closed[reason.index()], 1);
    }

    /// A connection could not be accepted.
    pub(crate) fn accept_failed(&self) {
        add(&self.accept_errors, 1);
    }

    /// A batch was answered.
    pub(crate) fn batch_answered(&self, tally: &Tally) {
        let numbers = self.numbers.iter().zip(tally.numbers);
        let rejected = self.rejected.iter().zip(tally.rejected);
        for (count, more) in numbers.chain(rejected).filter(|(_, more)| *more > 0) {
            add(count, more);
        }
    }

    /// A batch's replies were written, this long after its read.
    pub(crate) fn served_in(&self, time: Duration) {
        self.service.record(&SERVICE, time);
    }
}

#[inline]
fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

const SERVICE: Histogram = Histogram {
    name: "servidor_service_seconds",
    help: "Time from the read that completed a request to its reply's write; one sample per batch.",
    first_bound_ns: FIRST_BUCKET_NS,
};

/// The counters of all event loops.
#[derive(Debug)]
pub struct Metrics {
    loops: Box<[LoopMetrics]>,
}

impl Metrics {
    pub(crate) fn new(event_loops: usize) -> Self {
        Self { loops: (0..event_loops).map(|_| LoopMetrics::default()).collect() }
    }

    /// The counters of one event loop.
    #[inline]
    pub(crate) fn of(&self, event_loop: usize) -> &LoopMetrics {
        &self.loops[event_loop]
    }

    fn sum(&self, count: impl Fn(&LoopMetrics) -> &AtomicU64) -> u64 {
        self.loops.iter().map(|metrics| count(metrics).load(Ordering::Relaxed)).sum()
    }

    /// Connections served since the start.
    pub fn connections(&self) -> u64 {
        self.sum(|metrics| &metrics.connections)
    }

    /// Connections refused since the start, for one reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.sum(|metrics| &metrics.refused[reason.index()])
    }

    /// Connections closed since the start, for one reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.sum(|metrics| &metrics.closed[reason.index()])
    }

    /// Failures to accept a connection since the start.
    pub fn accept_errors(&self) -> u64 {
        self.sum(|metrics| &metrics.accept_errors)
    }

    /// Numbers answered since the start, of one class.
    pub fn numbers(&self, class: Class) -> u64 {
        self.sum(|metrics| &metrics.numbers[class.index()])
    }

    /// Requests rejected since the start, for one reason.
    pub fn rejected_for(&self, reason: Rejection) -> u64 {
        self.sum(|metrics| &metrics.rejected[reason.index()])
    }

    /// Requests rejected since the start.
    pub fn rejected(&self) -> u64 {
        Rejection::ALL.map(|reason| self.rejected_for(reason)).iter().sum()
    }

    /// Passes all counts to the recorder, so that each series exists from the start. Returns the histogram, which the
    /// recorder does not keep, in the exposition format.
    #[expect(clippy::cast_precision_loss, reason = "gauges; the limit is far below 2^52")]
    pub(crate) fn render(&self, limit: &ConnectionLimit) -> String {
        counter!(description: "Connections accepted and served.", "servidor_connections_total")
            .absolute(self.connections());
        gauge!(description: "Connections being served.", "servidor_connections_active")
            .set(limit.active() as f64);
        gauge!(
            description: "Connections that are served at the same time at most.",
            "servidor_connections_limit"
        )
        .set(limit.limit() as f64);
        for reason in Refusal::ALL {
            counter!(
                description: "Connections closed without being served.",
                "servidor_connections_refused_total", "reason" => reason.as_str()
            )
            .absolute(self.refused(reason));
        }
        for reason in CloseReason::ALL {
            counter!(
                description: "Served connections that ended, by reason.",
                "servidor_connections_closed_total", "reason" => reason.as_str()
            )
            .absolute(self.closed(reason));
        }
        counter!(description: "Failures to accept a connection.", "servidor_accept_errors_total")
            .absolute(self.accept_errors());
        for class in Class::ALL {
            counter!(
                description: "Numbers answered, by class.",
                "servidor_numbers_total", "class" => class.as_str()
            )
            .absolute(self.numbers(class));
        }
        for reason in Rejection::ALL {
            counter!(
                description: "Requests that were no number, by reason.",
                "servidor_requests_rejected_total", "reason" => reason.as_str()
            )
            .absolute(self.rejected_for(reason));
        }
        SERVICE.render(self.loops.iter().map(|metrics| &metrics.service))
    }
}
