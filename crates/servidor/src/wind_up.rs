//! How a connection ends when the daemon stops: what has reached the host is answered, and nothing is waited for twice.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::connection::{Connection, Found, Stream};
use crate::metrics::Reason;
use crate::stop::Deadlines;

/// How much of what has arrived at the stop is still read.
const MOST_AT_STOP: usize = 64 * 1024;

impl<S: Stream> Connection<S> {
    /// Ends the connection by the deadlines of the stop, by force if need be.
    pub(crate) async fn wind_up(&mut self, deadlines: Deadlines) -> io::Result<Reason> {
        timeout_at(deadlines.forced, self.end_well(deadlines)).await.unwrap_or(Ok(Reason::Forced))
    }

    /// Answers what has reached the host, gives a newcomer a moment, and is done.
    async fn end_well(&mut self, deadlines: Deadlines) -> io::Result<Reason> {
        let mut arrived = self.answer_arrived().await?;
        if arrived == Arrived::Nothing && self.requests() == 0 {
            let grace = deadlines.first_request.saturating_duration_since(Instant::now());
            if let Some(reason) = self.await_first_request(grace).await? {
                return Ok(reason);
            }
            arrived = self.answer_arrived().await?;
        }
        match arrived {
            Arrived::NotTaken => Ok(Reason::SlowReader),
            Arrived::TooMuch => Ok(Reason::Stopping),
            Arrived::Oversize => Ok(Reason::Oversize),
            Arrived::Nothing => self.answer_tail(Reason::Stopping).await,
            Arrived::EndOfStream => self.answer_tail(Reason::Client).await,
        }
    }

    /// Answers what the kernel has, past the reactor, which may not know yet.
    async fn answer_arrived(&mut self) -> io::Result<Arrived> {
        let mut read_in_all = 0;
        loop {
            // What the reactor does not know yet includes that a new socket can be written to.
            match self.unstall().await? {
                Some(Found::Oversize) => return Ok(Arrived::Oversize),
                Some(_) if read_in_all >= MOST_AT_STOP => return Ok(Arrived::TooMuch),
                Some(_) => {}
                None => return Ok(Arrived::NotTaken),
            }
            let found = poll_fn(|cx| {
                self.exchange(cx, |stream, buffer, _| {
                    Poll::Ready(stream.read_now(buffer).inspect(|read| read_in_all += read))
                })
            });
            match found.await {
                Ok(Found::Requests) => {}
                Ok(Found::Oversize) => return Ok(Arrived::Oversize),
                Ok(Found::EndOfStream) => return Ok(Arrived::EndOfStream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Arrived::Nothing),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the first request of a peer that has sent nothing yet; `Some` if that ends the connection.
    async fn await_first_request(&mut self, grace: Duration) -> io::Result<Option<Reason>> {
        let until = Instant::now() + grace;
        while self.requests() == 0 {
            let until = if self.line_has_begun() { until.min(self.alarm().0) } else { until };
            let Ok(found) = timeout_at(until, poll_fn(|cx| self.poll_exchange(cx))).await else {
                return Ok(None);
            };
            match found? {
                Found::Requests => {}
                Found::EndOfStream => return self.answer_tail(Reason::Client).await.map(Some),
                Found::Oversize => return Ok(Some(Reason::Oversize)),
            }
        }
        Ok(None)
    }
}

/// What a look at what had arrived by the stop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    /// No more is there now.
    Nothing,
    EndOfStream,
    Oversize,
    /// The peer does not take its replies.
    NotTaken,
    /// More than is read at a stop: the line that is cut there is no request.
    TooMuch,
}
