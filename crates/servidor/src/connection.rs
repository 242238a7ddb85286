//! One connection, from its first byte to its FIN: read, answer, write, and never longer than its timeouts allow.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use protocol::{Tail, decode_unterminated};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::context::Context;
use crate::events::Peer;
use crate::exchange::{Rest, answer_lines, answer_one, with_scratch};
use crate::metrics::{Reason, Tally};
use crate::settings::Own;
use crate::stop::Deadlines;

/// A stream that can also be read without the reactor, which may not know yet of bytes that the kernel has.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Reads what is there; [`io::ErrorKind::WouldBlock`] if nothing is.
    ///
    /// # Errors
    ///
    /// As read(2).
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Stream for tokio::net::TcpStream {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::io::Read as _;
        (&*socket2::SockRef::from(&*self)).read(buffer)
    }
}

/// The state of a connection between two exchanges.
pub struct Connection<S> {
    stream: S,
    peer: Peer,
    context: Arc<Context>,
    settings: Arc<Own>,
    /// The line that has begun.
    tail: Tail,
    /// Whether a line has ended: the peer ends its requests, and waits for ended replies.
    terminated: bool,
    /// Replies that the peer has not taken, and requests behind them. While there are any, nothing is read.
    stalled: Option<Box<Stalled>>,
    last_read: Instant,
    line_began: Instant,
    requests: u64,
}

struct Stalled {
    since: Instant,
    unsent: Vec<u8>,
    sent: usize,
    unread: Vec<u8>,
    /// After an over-long line nothing counts but that its error gets out.
    oversize: bool,
}

/// What an exchange found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Requests,
    EndOfStream,
    Oversize,
}

/// What ends the serving of a connection.
enum Event {
    Exchange(io::Result<Found>),
    Alarm(Reason),
    Stop(Deadlines),
}

impl<S: Stream> Connection<S> {
    /// A connection that has just been accepted.
    pub fn new(stream: S, peer: Peer, context: Arc<Context>, settings: Arc<Own>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            peer,
            context,
            settings,
            tail: Tail::EMPTY,
            terminated: false,
            stalled: None,
            last_read: now,
            line_began: now,
            requests: 0,
        }
    }

    /// How many requests have been answered.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether there are bytes that no line end has followed yet.
    pub(crate) fn line_has_begun(&self) -> bool {
        !self.tail.is_empty()
    }

    /// The stream, to be closed.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Serves until there is a reason to close; all replies are then with the kernel, or never will be.
    ///
    /// To be polled with one waker only, as a task does.
    pub async fn serve(&mut self) -> Reason {
        let context = Arc::clone(&self.context);
        let mut stop = pin!(context.stop.begun());
        let mut timer = pin!(sleep_until(self.alarm().0));
        let mut waits = false;
        let event = poll_fn(|cx| {
            loop {
                match self.poll_exchange(cx) {
                    Poll::Ready(Ok(Found::Requests)) => {}
                    Poll::Ready(found) => return Poll::Ready(Event::Exchange(found)),
                    Poll::Pending => break,
                }
            }
            let (deadline, reason) = self.alarm();
            // Both have been polled, and will wake the task: to ask whether they have costs less than to poll again.
            if waits && !context.stop.has_begun() && !timer.is_elapsed() && timer.deadline() <= deadline {
                return Poll::Pending;
            }
            if let Poll::Ready(deadlines) = stop.as_mut().poll(cx) {
                return Poll::Ready(Event::Stop(deadlines));
            }
            let alarm = poll_alarm(timer.as_mut(), deadline, cx);
            // After a flood the runtime lets nothing more happen in this poll: then they have not really been polled.
            waits = has_budget_remaining();
            alarm.map(|()| Event::Alarm(reason))
        })
        .await;
        // What comes at the end of a connection is boxed, so that an idle one has no room for it.
        let outcome = match event {
            Event::Exchange(Ok(Found::Oversize)) => Ok(Reason::Oversize),
            Event::Exchange(Ok(_)) if !self.line_has_begun() => Ok(Reason::Client),
            Event::Exchange(Ok(_)) => Box::pin(self.answer_tail(Reason::Client)).await,
            Event::Exchange(Err(error)) => Err(error),
            Event::Alarm(Reason::Unterminated) => Box::pin(self.answer_tail(Reason::Unterminated)).await,
            Event::Alarm(reason) => Ok(reason),
            Event::Stop(deadlines) => Box::pin(self.wind_up(deadlines)).await,
        };
        outcome.unwrap_or(Reason::Io)
    }

    /// When to lose patience, and with what.
    pub(crate) fn alarm(&self) -> (Instant, Reason) {
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

    /// Reads once and answers, or goes on with replies that the peer did not take.
    pub(crate) fn poll_exchange(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<Found>> {
        if self.stalled.is_some() {
            return self.poll_unstall(cx);
        }
        self.exchange(cx, |stream, buffer, cx| {
            let mut buffer = ReadBuf::new(buffer);
            Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }

    /// Reads once by `read`, and answers.
    pub(crate) fn exchange(
        &mut self,
        cx: &mut Cx<'_>,
        read: impl FnOnce(&mut S, &mut [u8], &mut Cx<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<Found>> {
        with_scratch(|scratch| {
            let kept = self.tail.as_bytes().len();
            scratch.input[..kept].copy_from_slice(self.tail.as_bytes());
            let read = ready!(read(&mut self.stream, &mut scratch.input[kept..], cx))?;
            if read == 0 {
                return Poll::Ready(Ok(Found::EndOfStream));
            }
            Poll::Ready(self.answer(&scratch.input[..kept + read], &mut scratch.output, cx))
        })
    }

    /// Answers `input`, the tail included, and writes as much as the peer takes.
    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>, cx: &mut Cx<'_>) -> io::Result<Found> {
        let now = Instant::now();
        self.last_read = now;
        if self.tail.is_empty() {
            self.line_began = now;
        }
        output.clear();
        let mut tally = Tally::default();
        let rest = answer_lines(input, output, &mut tally, &self.context, self.peer);
        let requests = tally.requests();
        if requests == 0 {
            self.tail.keep(input);
            return Ok(Found::Requests);
        }
        self.terminated = true;
        self.line_began = now;
        self.requests += requests;
        self.context.metrics.batch(&tally);
        let (unread, oversize) = match rest {
            Rest::Tail(begin) => {
                self.tail.keep(&input[begin..]);
                (&[][..], false)
            }
            Rest::Unread(begin) => {
                self.tail.keep(&[]);
                (&input[begin..], false)
            }
            Rest::Oversize => {
                self.tail.keep(&[]);
                (&[][..], true)
            }
        };
        let sent = self.write(output, cx)?;
        if sent == output.len() {
            self.context.metrics.served_in(now.elapsed());
        }
        if sent < output.len() || !unread.is_empty() {
            let (unsent, unread) = (output[sent..].to_vec(), unread.to_vec());
            self.stalled = Some(Box::new(Stalled { since: now, unsent, sent: 0, unread, oversize }));
            return Ok(Found::Requests);
        }
        Ok(if oversize { Found::Oversize } else { Found::Requests })
    }

    /// Writes until the peer takes no more.
    fn write(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => sent += written,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(sent)
    }

    /// Sends what the peer did not take, then answers what was read but not looked at.
    fn poll_unstall(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<Found>> {
        let Some(mut stalled) = self.stalled.take() else { return Poll::Ready(Ok(Found::Requests)) };
        stalled.sent += self.write(&stalled.unsent[stalled.sent..], cx)?;
        if stalled.sent < stalled.unsent.len() {
            self.stalled = Some(stalled);
            return Poll::Pending;
        }
        let now = Instant::now();
        if !stalled.unsent.is_empty() {
            self.context.metrics.served_in(now - stalled.since);
        }
        // The peer has been busy with what it was sent: its silence begins here.
        self.last_read = now;
        if stalled.oversize {
            return Poll::Ready(Ok(Found::Oversize));
        }
        if stalled.unread.is_empty() {
            return Poll::Ready(Ok(Found::Requests));
        }
        Poll::Ready(with_scratch(|scratch| self.answer(&stalled.unread, &mut scratch.output, cx)))
    }

    /// Takes the tail, which nothing will end, for a request, and answers it in the peer's own manner.
    pub(crate) async fn answer_tail(&mut self, reason: Reason) -> io::Result<Reason> {
        if self.tail.is_empty() {
            return Ok(reason);
        }
        let now = Instant::now();
        let mut reply = Vec::new();
        let mut tally = Tally::default();
        let outcome = decode_unterminated(self.tail.as_bytes());
        answer_one(&outcome, &mut reply, &mut tally, &self.context, self.peer);
        let reason = if self.terminated {
            reply.push(b'\n');
            reason
        } else {
            Reason::Unterminated
        };
        self.tail.keep(&[]);
        self.requests += 1;
        self.context.metrics.batch(&tally);
        let unread = Vec::new();
        self.stalled =
            Some(Box::new(Stalled { since: now, unsent: reply, sent: 0, unread, oversize: false }));
        Ok(if self.unstall().await?.is_some() { reason } else { Reason::SlowReader })
    }

    /// Waits until the peer has taken its replies; `None` if it did not do so in time.
    pub(crate) async fn unstall(&mut self) -> io::Result<Option<Found>> {
        let mut found = Found::Requests;
        while let Some(stalled) = &self.stalled {
            let until = stalled.since + self.settings.write_timeout.get();
            match tokio::time::timeout_at(until, poll_fn(|cx| self.poll_unstall(cx))).await {
                Ok(unstalled) => found = unstalled?,
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(found))
    }
}

/// Resolves when `deadline` has passed. The timer is moved only when it must go off earlier, or has gone off too
/// early: a deadline that moves on with every request costs no timer each time.
fn poll_alarm(mut timer: Pin<&mut Sleep>, deadline: Instant, cx: &mut Cx<'_>) -> Poll<()> {
    if deadline < timer.deadline() {
        timer.as_mut().reset(deadline);
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= deadline {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
}
