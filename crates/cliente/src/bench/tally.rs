//! What one thread's part of a run came to; the parts are added up.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::busy::Busy;
use crate::round::failure::Reason;

/// In nanoseconds: an hour. What takes longer is told as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Counts and distributions.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Right replies, those of the warm-up included.
    pub right: u64,
    /// What failed, the warm-up included, by [`Reason::index`]: requests, and connections that were not made.
    pub failures: [u64; Reason::ALL.len()],
    /// Requests that fell due and could never be sent.
    pub unsent: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections that could not be opened for want of a local port. They are among `failures`, too.
    pub without_port: u64,
    /// How long each right reply took, in nanoseconds; only of what was measured.
    pub latency: Histogram<u64>,
    /// How long connecting took, in nanoseconds.
    pub connect: Histogram<u64>,
    /// When the last right reply came.
    pub last_reply: Option<Instant>,
    /// How busy each thread was.
    pub threads: Vec<Busy>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3).expect("such bounds are allowed");
        Self {
            right: 0,
            failures: [0; Reason::ALL.len()],
            unsent: 0,
            connections: 0,
            without_port: 0,
            latency: histogram.clone(),
            connect: histogram,
            last_reply: None,
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
        self.failures.iter().sum::<u64>() + self.unsent
    }

    pub(super) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.unsent += other.unsent;
        self.connections += other.connections;
        self.without_port += other.without_port;
        for (count, more) in self.failures.iter_mut().zip(other.failures) {
            *count += more;
        }
        self.latency += other.latency;
        self.connect += other.connect;
        self.last_reply = self.last_reply.max(other.last_reply);
        self.threads.extend(other.threads);
    }
}

/// A time as histograms keep it.
pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    histogram.saturating_record_n(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), count);
}
