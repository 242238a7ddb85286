//! What one thread counted and measured; the threads' parts are added up.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::busy::Busy;
use crate::round::reason::Reason;

/// In nanoseconds: an hour. What takes longer is reported as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Counts and distributions.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Right replies, those of the warm-up included.
    pub right: u64,
    /// What failed, the warm-up included, by [`Reason::index`]: requests, and connections that were not made.
    pub failures: [u64; Reason::ALL.len()],
    /// Requests of an open loop that fell due and were never sent.
    pub unsent: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections that the server closed while nothing was under way on them.
    pub closed_unasked: u64,
    /// Connections that could not be opened for want of a local port. They are among `failures`, too.
    pub without_port: u64,
    /// Of the connections that are open at the same time, how many got a reply.
    pub served: u64,
    /// How many never got a reply, and waited for one until the timeout.
    pub never_served: u64,
    /// The first wrong reply.
    pub first_wrong: Option<WrongReply>,
    /// How long each right reply took, in nanoseconds; only of what was measured.
    pub latency: Histogram<u64>,
    /// How long connecting took, in nanoseconds.
    pub connect: Histogram<u64>,
    /// When the last right reply came.
    pub last_reply: Option<Instant>,
    /// When the last request could be begun: at the end of the time, or at the stop.
    pub ended: Option<Instant>,
    /// How busy each thread was.
    pub threads: Vec<Busy>,
}

/// A reply that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongReply {
    /// What was asked, and the right reply to it; nothing, if nothing had been asked.
    pub asked: Option<(String, String)>,
    /// What came.
    pub received: String,
}

impl fmt::Display for WrongReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, received } = self;
        match asked {
            Some((number, expected)) => write!(formatter, "{received:?} to {number}, expected {expected:?}"),
            None => write!(formatter, "{received:?}, and nothing had been asked"),
        }
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        let histogram = histogram(3);
        Self {
            right: 0,
            failures: [0; Reason::ALL.len()],
            unsent: 0,
            connections: 0,
            closed_unasked: 0,
            without_port: 0,
            served: 0,
            never_served: 0,
            first_wrong: None,
            latency: histogram.clone(),
            connect: histogram,
            last_reply: None,
            ended: None,
            threads: Vec::new(),
        }
    }

    pub(super) fn failed(&mut self, reason: Reason, count: usize) {
        self.failures[reason.index()] += count as u64;
    }

    /// The number of replies that were wrong.
    pub fn wrong(&self) -> u64 {
        self.failures[Reason::WrongReply.index()]
    }

    /// The number of requests without a right reply, and of connections that were not made.
    pub fn failed_in_all(&self) -> u64 {
        self.failures.iter().sum()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.unsent += other.unsent;
        self.connections += other.connections;
        self.closed_unasked += other.closed_unasked;
        self.without_port += other.without_port;
        self.served += other.served;
        self.never_served += other.never_served;
        self.first_wrong = self.first_wrong.take().or(other.first_wrong);
        for (count, more) in self.failures.iter_mut().zip(other.failures) {
            *count += more;
        }
        self.latency += other.latency;
        self.connect += other.connect;
        self.last_reply = self.last_reply.max(other.last_reply);
        self.ended = self.ended.max(other.ended);
        self.threads.extend(other.threads);
    }
}

/// An empty histogram of times in nanoseconds.
pub(super) fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, digits).expect("such bounds are allowed")
}

/// A time as histograms keep it.
pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    histogram.saturating_record_n(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), count);
}
