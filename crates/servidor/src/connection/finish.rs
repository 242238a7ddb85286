//! How a connection ends when the daemon stops, or its network is no longer allowed: what has arrived is answered first.

use std::cmp::min_by_key;
use std::time::Instant;

use super::{Connection, Next, READ, WRITE};
use crate::drain::Drain;
use crate::environment::Environment;
use crate::kernel::{Errno, Kernel};
use crate::metrics::CloseReason;
use crate::settings::Own;

/// How much of what has arrived is still read.
const MAX_READ: usize = 64 * 1024;

impl<K: Kernel> Connection<K> {
    /// Why it is to finish, if it is.
    #[inline]
    pub(super) fn finishes_for(&self, drain: Option<Drain>) -> Option<CloseReason> {
        match drain {
            Some(_) => Some(CloseReason::Stopping),
            None => self.not_allowed.then_some(CloseReason::NotAllowed),
        }
    }

    /// Answers what has arrived, gives a newcomer some time if the daemon stops, and closes.
    pub(super) fn finish(&mut self, reason: CloseReason, env: &mut Environment<K>) -> Result<Next, Errno> {
        loop {
            match self.flush(env)? {
                Some(READ) => {}
                Some(next) => return Ok(next),
                None => return Ok(WRITE),
            }
            // The line that is cut there is no request.
            if self.read_while_finishing >= MAX_READ {
                return Ok(Next::Close(reason));
            }
            match self.read_batch(env)? {
                Some(READ) => {}
                Some(next) => return Ok(next),
                None if self.may_still_ask(env) => return Ok(READ),
                None => return self.answer_partial(reason, env),
            }
        }
    }

    fn may_still_ask(&self, env: &Environment<K>) -> bool {
        let deadline = env.drain.map(|drain| self.first_request_deadline(&env.settings, drain));
        self.record.requests == 0 && deadline.is_some_and(|deadline| deadline > env.now)
    }

    /// [`Connection::deadline`] while the daemon stops.
    pub(super) fn deadline_at_stop(&self, settings: &Own, drain: Drain) -> (Instant, CloseReason) {
        if self.pending.is_none() {
            return (self.first_request_deadline(settings, drain), CloseReason::Stopping);
        }
        min_by_key(self.usual_deadline(settings), (drain.forced, CloseReason::Forced), |(at, _)| *at)
    }

    /// By when a newcomer must have asked.
    fn first_request_deadline(&self, settings: &Own, drain: Drain) -> Instant {
        if self.partial.is_empty() {
            return drain.first_request;
        }
        drain.first_request.min(self.usual_deadline(settings).0)
    }
}
