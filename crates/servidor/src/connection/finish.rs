//! Ends a connection when the daemon stops or its network is no longer allowed. What has arrived is answered first.

use std::cmp::min_by_key;
use std::time::Instant;

use super::{Connection, Next, READ, WRITE};
use crate::drain::Drain;
use crate::environment::Environment;
use crate::kernel::{Errno, Kernel};
use crate::metrics::CloseReason;
use crate::settings::Own;

/// How much is still read.
const MAX_READ: usize = 64 * 1024;

impl<K: Kernel> Connection<K> {
    /// Why it must finish, if it must.
    #[inline]
    pub(super) fn finishes_for(&self, drain: Option<Drain>) -> Option<CloseReason> {
        match drain {
            Some(_) => Some(CloseReason::Stopping),
            None => self.not_allowed.then_some(CloseReason::NotAllowed),
        }
    }

    /// Answers what has arrived, and closes. If the daemon stops, a new connection gets some time for its first request.
    pub(super) fn finish(&mut self, reason: CloseReason, env: &mut Environment<K>) -> Result<Next, Errno> {
        loop {
            match self.flush(env)? {
                Some(READ) => {}
                Some(next) => return Ok(next),
                None => return Ok(WRITE),
            }
            // The line that is cut off here is not a request.
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

    /// When a new connection must have sent its first request.
    fn first_request_deadline(&self, settings: &Own, drain: Drain) -> Instant {
        if self.partial.is_empty() {
            return drain.first_request;
        }
        drain.first_request.min(self.usual_deadline(settings).0)
    }
}
