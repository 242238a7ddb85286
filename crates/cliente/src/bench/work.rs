//! What all connections of a thread share.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Load;
use super::mix::Mix;
use super::pace::{OpenLoop, Quota, Times};
use super::tally::{Tally, record};

/// The most that is read at once.
const SCRATCH: usize = 64 * 1024;

/// What there is to do, and what came of it.
pub(super) struct Work<'a> {
    pub(super) load: &'a Load,
    pub(super) mix: &'a Mix,
    pub(super) quota: &'a Quota,
    /// Nothing is asked before they are known.
    pub(super) times: Option<Times>,
    pub(super) open_loop: Option<OpenLoop>,
    pub(super) tally: Tally,
    /// Latencies since the progress was last published, if someone watches it.
    pub(super) recent: Option<Histogram<u64>>,
    /// The buffer of whichever connection is reading.
    pub(super) scratch: Box<[u8]>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        load: &'a Load,
        mix: &'a Mix,
        quota: &'a Quota,
        recent: Option<Histogram<u64>>,
    ) -> Self {
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        Self { load, mix, quota, times: None, open_loop: None, tally: Tally::new(), recent, scratch }
    }

    /// When the next request of an open loop is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let until = self.times?.until;
        Some(self.open_loop?.next_due()).filter(|&due| due < until)
    }

    /// The connection of a request of an open loop that is due by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let Times { measured_from, until, .. } = self.times?;
        let due = self.next_due().filter(|&due| due <= now)?;
        if due >= measured_from && self.quota.take(1) == 0 {
            return None;
        }
        self.open_loop.as_mut()?.take_due(now, until)
    }

    /// Nothing is begun any more.
    pub(super) fn end(&mut self, now: Instant) {
        let next_due = self.next_due().unwrap_or(now);
        if let Some(times) = &mut self.times {
            times.until = times.until.min(now).min(next_due);
        }
    }

    /// Counts right replies, all with the same latency.
    pub(super) fn right(&mut self, latency: Duration, count: usize, is_measured: bool) {
        let count = count as u64;
        self.tally.right += count;
        if is_measured {
            record(&mut self.tally.latency, latency, count);
        }
        if let Some(recent) = &mut self.recent {
            record(recent, latency, count);
        }
    }
}
