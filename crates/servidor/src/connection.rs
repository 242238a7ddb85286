//! One connection, from its first byte to its FIN, as a state machine: it is told that its socket is ready, or that its
//! time is up, and says what to wait for next. It never waits itself.

use std::io::{self, Read, Write};
use std::sync::Arc;

use protocol::{Tail, WINDOW, decode_unterminated};
use tokio::time::Instant;

use crate::exchange::{Padded, Rest, Scratch, answer_lines, answer_one};
use crate::metrics::{Reason, Tally};
use crate::open::Open;
use crate::poller::Interest;
use crate::settings::Own;

const READ: Next = Next::Await(Interest::Read);
const WRITE: Next = Next::Await(Interest::Write);

/// The state of a connection between two exchanges. Its stream does not block.
pub struct Connection<S> {
    stream: S,
    open: Open,
    settings: Arc<Own>,
    /// The line that has begun.
    tail: Tail,
    /// Whether a line has ended: the peer ends its requests, and waits for ended replies.
    terminated: bool,
    /// Replies that the peer has not taken, and requests behind them. While there are any, nothing is read.
    stalled: Option<Box<Stalled>>,
    last_read: Instant,
    line_began: Instant,
    /// Bytes read since the daemon began to stop.
    pub(crate) read_at_stop: usize,
}

struct Stalled {
    since: Instant,
    unsent: Vec<u8>,
    sent: usize,
    unread: Vec<u8>,
    /// Why to close when all is sent.
    then: Option<Reason>,
}

/// What a connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// It waits until its stream is ready for this.
    Await(Interest),
    /// It ends: all replies are with the kernel, or never will be.
    Close(Reason),
}

impl<S: Read + Write> Connection<S> {
    /// A connection that has just been accepted.
    pub fn new(stream: S, open: Open, settings: Arc<Own>) -> Self {
        let now = open.since;
        Self {
            stream,
            open,
            settings,
            tail: Tail::EMPTY,
            terminated: false,
            stalled: None,
            last_read: now,
            line_began: now,
            read_at_stop: 0,
        }
    }

    /// The stream, to be closed, and the entry to be closed after it.
    pub fn into_parts(self) -> (S, Open) {
        (self.stream, self.open)
    }

    /// The stream, to be waited for.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// What to wait for.
    pub fn awaits(&self) -> Interest {
        if self.stalled.is_some() { Interest::Write } else { Interest::Read }
    }

    /// Goes on: the stream is ready for what was awaited, or the daemon has begun to stop.
    ///
    /// Reads at most once, so that others have their turn, unless the daemon is stopping.
    pub fn proceed(&mut self, scratch: &mut Scratch) -> Next {
        let step = match self.open.context.stop.if_begun() {
            Some(deadlines) => self.wind_up(deadlines, scratch),
            None if self.stalled.is_some() => self.unstall(scratch),
            None => self.exchange(scratch).map(|next| next.unwrap_or(READ)),
        };
        step.unwrap_or(Next::Close(Reason::Io))
    }

    /// When to lose patience, and with what.
    pub fn alarm(&self) -> (Instant, Reason) {
        match self.open.context.stop.if_begun() {
            Some(deadlines) => self.alarm_at_stop(deadlines),
            None => self.alarm_in_peace(),
        }
    }

    /// [`Connection::alarm`], but for a stop.
    pub(crate) fn alarm_in_peace(&self) -> (Instant, Reason) {
        let settings = &self.settings;
        if let Some(stalled) = &self.stalled {
            return (stalled.since + settings.write_timeout.get(), Reason::SlowReader);
        }
        if self.tail.is_empty() {
            return (self.last_read + settings.idle_timeout.get(), Reason::Idle);
        }
        let line_end = self.line_began + settings.line_timeout.get();
        let silence = self.last_read + settings.unterminated_wait.get();
        if self.terminated || line_end < silence {
            (line_end, Reason::SlowLine)
        } else {
            (silence, Reason::Unterminated)
        }
    }

    /// The alarm went off, with this reason.
    pub fn time_is_up(&mut self, reason: Reason, scratch: &mut Scratch) -> Next {
        match reason {
            Reason::Stopping => self.proceed(scratch),
            Reason::Unterminated => self.answer_tail(reason, scratch).unwrap_or(Next::Close(Reason::Io)),
            _ => Next::Close(reason),
        }
    }

    /// How many requests have been answered.
    pub(crate) fn requests(&self) -> u64 {
        self.open.requests
    }

    /// Whether there are bytes that no line end has followed yet.
    pub(crate) fn line_has_begun(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Reads once, and answers; `None` if nothing was there.
    pub(crate) fn exchange(&mut self, scratch: &mut Scratch) -> io::Result<Option<Next>> {
        let kept = self.tail.as_bytes().len();
        scratch.input[..kept].copy_from_slice(self.tail.as_bytes());
        let room = kept..scratch.input.len() - WINDOW;
        let read = match self.stream.read(&mut scratch.input[room]) {
            Ok(0) => return self.answer_tail(Reason::Client, scratch).map(Some),
            Ok(read) => read,
            Err(error) if is_for_later(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.last_read = scratch.now;
        if self.tail.is_empty() {
            self.line_began = scratch.now;
        }
        if self.open.context.stop.has_begun() {
            self.read_at_stop += read;
        }
        let Scratch { now, input, output } = scratch;
        self.answer(Padded::new(input, kept + read), output, now).map(Some)
    }

    /// Answers `input`, which was read at `now` and begins with the tail, as far as the peer takes the replies.
    fn answer(&mut self, mut input: Padded<'_>, output: &mut Vec<u8>, now: &mut Instant) -> io::Result<Next> {
        loop {
            output.clear();
            let mut tally = Tally::default();
            let rest = answer_lines(input, output, &mut tally, &self.open.context, self.open.peer);
            let requests = tally.requests();
            if requests > 0 {
                self.terminated = true;
                self.line_began = *now;
                self.open.requests += requests;
                self.open.context.metrics.batch(&tally);
            }
            let (tail, unread, then) = match rest {
                Rest::Tail(begin) => (input.from(begin).as_bytes(), None, None),
                Rest::Unread(begin) => (&[][..], Some(input.from(begin)), None),
                Rest::Oversize => (&[][..], None, Some(Reason::Oversize)),
            };
            self.tail.keep(tail);
            if requests == 0 {
                return Ok(READ);
            }
            let unread_bytes = unread.map_or(&[][..], Padded::as_bytes);
            match (self.send(output, unread_bytes, then, now)?, unread) {
                (READ, Some(unread)) => input = unread,
                (next, _) => return Ok(next),
            }
        }
    }

    /// Sends `replies` to what was read at `now`; keeps what the peer does not take.
    fn send(
        &mut self,
        replies: &[u8],
        unread: &[u8],
        then: Option<Reason>,
        now: &mut Instant,
    ) -> io::Result<Next> {
        let since = *now;
        let sent = self.write(replies)?;
        if sent == replies.len() {
            *now = Instant::now();
            self.open.context.metrics.served_in(*now - since);
            return Ok(then.map_or(READ, Next::Close));
        }
        let (unsent, unread) = (replies[sent..].to_vec(), unread.to_vec());
        self.stalled = Some(Box::new(Stalled { since, unsent, sent: 0, unread, then }));
        Ok(WRITE)
    }

    /// Writes until the peer takes no more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => sent += written,
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Sends what the peer did not take, then answers what was read but not looked at.
    pub(crate) fn unstall(&mut self, scratch: &mut Scratch) -> io::Result<Next> {
        let Some(mut stalled) = self.stalled.take() else { return Ok(READ) };
        stalled.sent += self.write(&stalled.unsent[stalled.sent..])?;
        if stalled.sent < stalled.unsent.len() {
            self.stalled = Some(stalled);
            return Ok(WRITE);
        }
        let Scratch { now, output, .. } = scratch;
        *now = Instant::now();
        self.open.context.metrics.served_in(*now - stalled.since);
        // The peer has been busy with what it was sent: its silence begins here.
        self.last_read = *now;
        match stalled.then {
            Some(reason) => Ok(Next::Close(reason)),
            None if stalled.unread.is_empty() => Ok(READ),
            None => {
                let unread = stalled.unread.len();
                stalled.unread.resize(unread + WINDOW, 0);
                self.answer(Padded::new(&mut stalled.unread, unread), output, now)
            }
        }
    }

    /// Takes the tail, which nothing will end, for a request, answers it in the peer's own manner, and closes.
    pub(crate) fn answer_tail(&mut self, reason: Reason, scratch: &mut Scratch) -> io::Result<Next> {
        if self.tail.is_empty() {
            return Ok(Next::Close(reason));
        }
        let Scratch { now, output, .. } = scratch;
        output.clear();
        let mut tally = Tally::default();
        let outcome = decode_unterminated(self.tail.as_bytes());
        answer_one(&outcome, output, &mut tally, &self.open.context, self.open.peer);
        let reason = if self.terminated {
            output.push(b'\n');
            reason
        } else {
            Reason::Unterminated
        };
        self.tail.keep(&[]);
        self.open.requests += 1;
        self.open.context.metrics.batch(&tally);
        self.send(output, &[], Some(reason), now)
    }
}

/// Whether to try again when the stream is ready.
fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
