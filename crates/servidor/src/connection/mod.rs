//! One connection, from its first byte to its last, as a state machine that never waits.
//!
//! [`Connection::serve`] handles a ready socket, [`Connection::expire`] a deadline that has passed. Both return what the
//! connection waits for next.

mod batch;
mod finish;
mod pending;
mod record;
mod send;

use std::ops::Range;
use std::time::Instant;

use protocol::{PartialLine, WINDOW, decode_unterminated};

use self::batch::{Rest, answer_lines, answer_one};
pub(crate) use self::pending::MIN_WRITE_RATE;
use self::pending::Pending;
pub(crate) use self::record::ConnectionRecord;
pub(crate) use self::send::send_some;
use crate::drain::Drain;
use crate::environment::Environment;
use crate::kernel::{Errno, Interest, Kernel, retry};
use crate::metrics::{CloseReason, Tally};
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

    /// Reads once, and answers. `None` if there was nothing to read.
    fn read_batch(&mut self, env: &mut Environment<K>) -> Result<Option<Next>, Errno> {
        let kept = self.partial.as_bytes().len();
        env.input[..kept].copy_from_slice(self.partial.as_bytes());
        let end = env.input.len() - WINDOW;
        let read = match retry(|| env.kernel.receive(&self.socket, &mut env.input[kept..end])) {
            Ok(0) => return self.answer_partial(CloseReason::Client, env).map(Some),
            Ok(read) => read,
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        };
        env.context.log.requests_read(self.record.peer, read);
        self.last_read = env.now;
        if kept == 0 {
            self.line_began = env.now;
        }
        if self.finishes_for(env.drain).is_some() {
            self.read_while_finishing += read;
        }
        self.answer(0..kept + read, env).map(Some)
    }

    /// Answers this range of the input, which begins with the partial line, until the kernel takes no more replies.
    fn answer(&mut self, mut range: Range<usize>, env: &mut Environment<K>) -> Result<Next, Errno> {
        loop {
            let mut tally = Tally::default();
            env.output.clear();
            let observer = (&env.context.log, self.record.peer);
            let rest = answer_lines(&mut env.input, range.clone(), &mut env.output, &mut tally, observer);
            let requests = tally.requests();
            if requests > 0 {
                self.terminated = true;
                self.line_began = env.now;
                self.record.requests += requests;
                env.metrics().batch_answered(&tally);
            }
            let (partial, unread, then) = match rest {
                Rest::Partial(begin) => (begin..range.end, range.end, None),
                Rest::Unread(begin) => (begin..begin, begin, None),
                Rest::Oversize => (0..0, range.end, Some(CloseReason::Oversize)),
            };
            self.partial.keep(&env.input[partial]);
            if requests == 0 {
                return Ok(READ);
            }
            match self.send(unread..range.end, then, env)? {
                READ if unread < range.end => range.start = unread,
                next => return Ok(next),
            }
        }
    }

    /// Treats the partial line as a request that nothing will terminate, answers it with a line end only if the peer uses
    /// them, and closes.
    fn answer_partial(&mut self, reason: CloseReason, env: &mut Environment<K>) -> Result<Next, Errno> {
        if self.partial.is_empty() {
            return Ok(Next::Close(reason));
        }
        let mut tally = Tally::default();
        env.output.clear();
        let request = self.partial.as_bytes();
        let outcome = decode_unterminated(request);
        answer_one(&outcome, request, &mut env.output, &mut tally, (&env.context.log, self.record.peer));
        let reason = if self.terminated {
            env.output.push(b'\n');
            reason
        } else {
            CloseReason::Unterminated
        };
        self.partial.keep(&[]);
        self.record.requests += 1;
        env.metrics().batch_answered(&tally);
        self.send(0..0, Some(reason), env)
    }
}
