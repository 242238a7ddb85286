//! One connection, from its first byte to its last, as a state machine that never waits.
//!
//! [`Connection::serve`] handles a ready socket, [`Connection::expire`] a deadline that has passed. Both return what the
//! connection waits for next.

mod batch;
mod finish;
mod pending;
mod record;
mod send;

use std::time::Instant;

use protocol::PartialLine;

pub(crate) use self::pending::MIN_WRITE_RATE;
use self::pending::Pending;
pub(crate) use self::record::ConnectionRecord;
pub(crate) use self::send::send_some;
use crate::drain::Drain;
use crate::environment::Environment;
use crate::kernel::{Errno, Interest, Kernel};
use crate::metrics::CloseReason;
use crate::settings::Own;

const READ: Next = Next::Await(Interest::Read);
const WRITE: Next = Next::Await(Interest::Write);

#[cfg(test)]
thread_local! {
    /// Calls of [`Connection::deadline`]: they show how many connections an event loop looks at.
    pub(crate) static DEADLINES_COMPUTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A connection between two batches.
pub(crate) struct Connection<K: Kernel> {
    socket: K::Socket,
    record: ConnectionRecord,
    partial: PartialLine,
    /// Whether a line end has been read: the peer terminates its requests, and expects terminated replies.
    terminated: bool,
    /// Whether a reload removed the peer's network from `allow`.
    not_allowed: bool,
    /// Replies that the kernel has not accepted yet. While there are any, nothing is read.
    pending: Option<Box<Pending>>,
    last_read: Instant,
    line_began: Instant,
    /// How many bytes were read since it had to finish.
    read_while_finishing: usize,
}

/// What a connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Waits until its socket is ready for this.
    Await(Interest),
    /// Ends: the kernel has all replies, or they cannot be sent any more.
    Close(CloseReason),
}

impl<K: Kernel> Connection<K> {
    /// A connection that has just been accepted.
    pub(crate) fn new(socket: K::Socket, record: ConnectionRecord) -> Self {
        let now = record.began;
        Self {
            socket,
            record,
            partial: PartialLine::EMPTY,
            terminated: false,
            not_allowed: false,
            pending: None,
            last_read: now,
            line_began: now,
            read_while_finishing: 0,
        }
    }

    pub(crate) fn into_parts(self) -> (K::Socket, ConnectionRecord) {
        (self.socket, self.record)
    }

    pub(crate) fn socket(&self) -> &K::Socket {
        &self.socket
    }

    /// What it waits for now.
    #[inline]
    pub(crate) fn awaits(&self) -> Interest {
        if self.pending.is_some() { Interest::Write } else { Interest::Read }
    }

    /// Applies changed settings. Returns whether the peer's network is still allowed. If not, the connection must finish.
    pub(crate) fn apply(&mut self, settings: &Own) -> bool {
        self.not_allowed = !settings.allow.contains(self.record.peer.address.ip());
        !self.not_allowed
    }

    /// The socket is ready for what was awaited, or the connection must finish.
    ///
    /// Reads at most once, so that others get their turn, unless it must finish.
    #[inline]
    pub(crate) fn serve(&mut self, env: &mut Environment<K>) -> Next {
        #[cfg(feature = "simulation")]
        crate::fail_point::reached("serve", self.record.peer.connection);
        let next = match self.finishes_for(env.drain) {
            Some(reason) => self.finish(reason, env),
            None if self.pending.is_some() => self.flush(env).map(|next| next.unwrap_or(WRITE)),
            None => self.read_batch(env).map(|next| next.unwrap_or(READ)),
        };
        next.unwrap_or(Next::Close(CloseReason::Io))
    }

    /// Its deadline has passed. The socket is read or written once more before the deadline is enforced: what has arrived by
    /// now came in time, even if this process was suspended.
    pub(crate) fn expire(&mut self, env: &mut Environment<K>) -> Next {
        self.expire_if_not_ready(env).unwrap_or(Next::Close(CloseReason::Io))
    }

    fn expire_if_not_ready(&mut self, env: &mut Environment<K>) -> Result<Next, Errno> {
        // Each pass moves the deadline, extends a line of at most 64 bytes, or is the last one.
        loop {
            let (deadline, reason) = self.deadline(&env.settings, env.drain);
            if deadline > env.now {
                return Ok(Next::Await(self.awaits()));
            }
            let next = match (reason, &self.pending) {
                (CloseReason::Stopping, _) => return Ok(self.serve(env)),
                (_, Some(_)) => self.flush(env)?,
                (_, None) => self.read_batch(env)?,
            };
            match next {
                // The kernel has taken the last replies: there is nothing else to wait for.
                Some(READ) if self.finishes_for(env.drain).is_some() => return Ok(self.serve(env)),
                Some(Next::Await(_)) => {}
                Some(close) => return Ok(close),
                None => {
                    env.context.log.deadline_passed(self.record.peer, reason);
                    return match reason {
                        CloseReason::Unterminated => self.answer_partial(reason, env),
                        _ => Ok(Next::Close(reason)),
                    };
                }
            }
        }
    }

    /// Its next deadline, and the reason to close it then.
    #[inline]
    pub(crate) fn deadline(&self, settings: &Own, drain: Option<Drain>) -> (Instant, CloseReason) {
        #[cfg(test)]
        DEADLINES_COMPUTED.set(DEADLINES_COMPUTED.get() + 1);
        match drain {
            Some(drain) => self.deadline_at_stop(settings, drain),
            None => self.usual_deadline(settings),
        }
    }

    fn usual_deadline(&self, settings: &Own) -> (Instant, CloseReason) {
        if let Some(pending) = &self.pending {
            return (pending.deadline(settings), CloseReason::SlowReader);
        }
        if self.partial.is_empty() {
            return (self.last_read + settings.idle_timeout.get(), CloseReason::Idle);
        }
        let line_end = self.line_began + settings.line_timeout.get();
        let silence = self.last_read + settings.unterminated_wait.get();
        if self.terminated || line_end < silence {
            (line_end, CloseReason::SlowLine)
        } else {
            (silence, CloseReason::Unterminated)
        }
    }
}
