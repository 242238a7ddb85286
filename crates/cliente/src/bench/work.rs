//! What all connections of a thread share.

use std::time::Instant;

use super::Load;
use super::mix::Mix;
use super::pace::{OpenLoop, Times};
use super::tally::Tally;

/// The most that is read at once.
const SCRATCH: usize = 64 * 1024;

/// What there is to do, and what came of it.
pub(super) struct Work<'a> {
    pub(super) load: &'a Load,
    pub(super) mix: &'a Mix,
    /// Nothing is asked before they are known.
    pub(super) times: Option<Times>,
    pub(super) open_loop: Option<OpenLoop>,
    pub(super) tally: Tally,
    /// Lent to the connection that reads.
    pub(super) scratch: Box<[u8]>,
}

impl<'a> Work<'a> {
    pub(super) fn new(load: &'a Load, mix: &'a Mix) -> Self {
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        Self { load, mix, times: None, open_loop: None, tally: Tally::new(), scratch }
    }

    /// When the next request of an open loop is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let until = self.times?.until;
        Some(self.open_loop?.next_due()).filter(|&due| due < until)
    }

    /// The connection of a request of an open loop that is due by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let until = self.times?.until;
        self.open_loop.as_mut()?.take_due(now, until)
    }
}
