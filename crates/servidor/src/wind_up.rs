//! How a connection ends when the daemon stops: what has reached the host is answered, and nothing is waited for twice.

use std::cmp::min_by_key;
use std::io::{self, Read, Write};

use tokio::time::Instant;

use crate::connection::{Connection, Next};
use crate::exchange::Scratch;
use crate::metrics::Reason;
use crate::poller::Interest;
use crate::stop::Deadlines;

/// How much of what has arrived at the stop is still read.
const MOST_AT_STOP: usize = 64 * 1024;

impl<S: Read + Write> Connection<S> {
    /// Answers what has reached the host, gives a newcomer a moment, and closes.
    pub(crate) fn wind_up(&mut self, deadlines: Deadlines, scratch: &mut Scratch) -> io::Result<Next> {
        loop {
            match self.unstall(scratch)? {
                Next::Await(Interest::Read) => {}
                next => return Ok(next),
            }
            // The line that is cut there is no request.
            if self.read_at_stop >= MOST_AT_STOP {
                return Ok(Next::Close(Reason::Stopping));
            }
            match self.exchange(scratch)? {
                Some(Next::Await(Interest::Read)) => {}
                Some(next) => return Ok(next),
                None if self.requests() == 0 && scratch.now < self.patience_at_stop(deadlines) => {
                    return Ok(Next::Await(Interest::Read));
                }
                None => return self.answer_tail(Reason::Stopping, scratch),
            }
        }
    }

    /// When to lose patience with a peer while the daemon stops, and with what.
    pub(crate) fn alarm_at_stop(&self, deadlines: Deadlines) -> (Instant, Reason) {
        match self.awaits() {
            Interest::Write => {
                let forced = (deadlines.forced, Reason::Forced);
                min_by_key(self.alarm_in_peace(), forced, |(at, _)| *at)
            }
            _ => (self.patience_at_stop(deadlines), Reason::Stopping),
        }
    }

    /// By when a newcomer must have asked something.
    fn patience_at_stop(&self, deadlines: Deadlines) -> Instant {
        if self.line_has_begun() {
            deadlines.first_request.min(self.alarm_in_peace().0)
        } else {
            deadlines.first_request
        }
    }
}
