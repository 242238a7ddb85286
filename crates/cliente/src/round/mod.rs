//! One round: resolve, connect, exchange; each phase has a deadline of its own.

pub(crate) mod connect;
mod deadline;
mod exchange;
pub mod failure;
mod steps;

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use protocol::Number;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::connect::{connect, resolve};
use self::deadline::within;
use self::exchange::{Reply, close_lingering, exchange};
use self::failure::Failure;
use self::steps::{Progress, Steps};
use crate::stall::{Phase, StallMeter};
use crate::targets::target::Target;

/// How a round is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long resolving the name may take; and again, how long connecting may take.
    pub connect_timeout: Duration,
    /// How long the exchange may take, from the request's first byte to the reply's last.
    pub reply_timeout: Duration,
    /// From which time on a stall of this process disturbs a phase.
    pub stall_threshold: Duration,
    /// Whether to keep the connection for the next round.
    pub keep: bool,
}

/// The result of a round.
#[derive(Debug)]
pub struct Outcome {
    /// The time it took to resolve the name; `None` if that was not done or failed.
    pub resolve: Option<Duration>,
    /// The time it took to connect; `None` if no connection was made, as when a kept one was used.
    pub connect: Option<Duration>,
    /// The round trip, if the reply was right: from before the request's write to after the reply's last read.
    ///
    /// Beyond the time between the two packets it includes the way into the kernel with the request, and the way back
    /// with the reply: the wake-up of this program, by far the largest part when the processor had gone to sleep.
    /// `tests/truth.rs` measures that.
    pub result: Result<Duration, Failure>,
    /// The time of the whole round.
    pub elapsed: Duration,
    /// How long this process was kept from running, if that was for so much of a phase that the result says more about this host
    /// than about the server.
    pub disturbed: Option<Duration>,
}

/// One target, and the connection kept to it.
#[derive(Debug)]
pub struct Session {
    target: Target,
    stalls: StallMeter,
    kept: Option<TcpStream>,
}

/// What a round has measured so far.
#[derive(Default)]
struct Measured {
    resolve: Option<Duration>,
    connect: Option<Duration>,
    disturbed: Option<Duration>,
}

impl Measured {
    /// Ends a phase, and returns the time that it took.
    fn end(&mut self, phase: Phase<'_>, limit: Duration, options: Options) -> Duration {
        let (elapsed, disturbed) = phase.end(limit);
        self.disturbed = self.disturbed.max(disturbed.filter(|&stalled| stalled >= options.stall_threshold));
        elapsed
    }
}

impl Session {
    /// Not connected yet.
    pub fn new(target: Target, stalls: StallMeter) -> Self {
        Self { target, stalls, kept: None }
    }

    /// Makes one round with `number`.
    pub async fn round(&mut self, number: Number, options: Options) -> Outcome {
        let begun = Instant::now();
        let mut measured = Measured::default();
        let result = self.ask(&number, options, &mut measured).await;
        let Measured { resolve, connect, disturbed } = measured;
        let is_certain = result.as_ref().is_err_and(Failure::is_certain);
        let disturbed = disturbed.filter(|_| !is_certain);
        Outcome { resolve, connect, result, elapsed: begun.elapsed(), disturbed }
    }

    async fn ask(
        &mut self,
        number: &Number,
        options: Options,
        measured: &mut Measured,
    ) -> Result<Duration, Failure> {
        let reused = self.reuse(options.keep)?;
        let steps = Steps::of(&self.target);
        let mut stream = match reused {
            Some(stream) => stream,
            None => self.connect(options, measured, steps).await?,
        };
        let mut progress = Progress::default();
        let phase = self.stalls.phase();
        let reply = within(options.reply_timeout, exchange(&mut stream, number, &mut progress)).await;
        measured.end(phase, options.reply_timeout, options);
        steps.exchanged(progress);
        let Reply { round_trip, ended } =
            reply.map_err(|_| Failure::ReplyTimeout(options.reply_timeout))??;
        if !ended {
            if options.keep {
                self.kept = Some(stream);
            } else {
                close_lingering(&mut stream).await?;
            }
        }
        Ok(round_trip)
    }

    async fn connect(
        &self,
        options: Options,
        measured: &mut Measured,
        steps: Steps<'_>,
    ) -> Result<TcpStream, Failure> {
        let connect_timeout = options.connect_timeout;
        let phase = self.stalls.phase();
        let addresses = resolve(&self.target, connect_timeout).await;
        let elapsed = measured.end(phase, connect_timeout, options);
        let addresses = addresses?;
        measured.resolve = Some(elapsed);
        steps.resolved(&addresses);
        let phase = self.stalls.phase();
        let stream = connect(&addresses, connect_timeout, steps).await;
        let elapsed = measured.end(phase, connect_timeout, options);
        let stream = stream?;
        measured.connect = Some(elapsed);
        steps.connected(&stream);
        Ok(stream)
    }

    /// Takes the kept connection, unless the server has ended it meanwhile: that is no failure.
    ///
    /// The socket itself is asked: the runtime may not know yet of a FIN that has arrived.
    fn reuse(&mut self, keep: bool) -> Result<Option<TcpStream>, Failure> {
        let Some(stream) = self.kept.take().filter(|_| keep) else { return Ok(None) };
        match SockRef::from(&stream).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(stream)),
            Err(_) | Ok(0) => Ok(None),
            Ok(_) => Err(Failure::Surplus),
        }
    }
}

#[cfg(test)]
mod tests;
