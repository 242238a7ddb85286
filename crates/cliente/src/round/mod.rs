//! One round: resolve, connect, exchange; each phase has a deadline of its own.

pub mod attempts;
pub(crate) mod connect;
mod deadline;
pub mod exchange;
pub mod failure;
mod follow;
pub mod reason;
mod steps;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::Number;
use tokio::time::Instant;

use self::connect::{connect, resolve};
pub(crate) use self::deadline::within;
use self::exchange::{Progress, Reply, close_lingering, exchange};
use self::failure::Failure;
use self::follow::Following;
use self::steps::Steps;
use crate::host::{Stream, peek};
use crate::resolve::{Answers, LookUp, Resolver, Wanted};
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
    /// Which addresses may be used.
    pub wanted: Wanted,
}

/// The result of a round.
#[derive(Debug)]
pub struct Outcome {
    /// The time it took to find a first address of the name; `None` if no look-up was needed.
    pub resolve: Option<Duration>,
    /// The address that was used, or that the failure is about.
    pub address: Option<SocketAddr>,
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

/// One target, what is known of its addresses, and the connection kept to it.
pub struct Session {
    target: Target,
    stalls: StallMeter,
    resolver: Resolver,
    answers: Option<Answers>,
    /// What `answers` are about.
    wanted: Wanted,
    kept: Option<Kept>,
    following: Following,
}

/// A connection that is kept, and where it leads.
struct Kept {
    stream: Stream,
    address: SocketAddr,
}

/// What a round has measured so far.
#[derive(Default)]
struct Measured {
    resolve: Option<Duration>,
    address: Option<SocketAddr>,
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
    pub fn new(target: Target, stalls: StallMeter, resolver: Resolver) -> Self {
        Self {
            target,
            stalls,
            resolver,
            answers: None,
            wanted: Wanted::ANY,
            kept: None,
            following: Following::default(),
        }
    }

    /// Makes one round with `number`.
    pub async fn round(&mut self, number: Number, options: Options) -> Outcome {
        let begun = Instant::now();
        let _watch = self.stalls.watch();
        let mut measured = Measured::default();
        let result = self.ask(&number, options, &mut measured).await;
        if result.is_err() {
            self.forget_answers();
        }
        let Measured { resolve, address, connect, disturbed } = measured;
        let is_certain = result.as_ref().is_err_and(Failure::is_certain);
        let disturbed = disturbed.filter(|_| !is_certain);
        Outcome { resolve, address, connect, result, elapsed: begun.elapsed(), disturbed }
    }

    async fn ask(
        &mut self,
        number: &Number,
        options: Options,
        measured: &mut Measured,
    ) -> Result<Duration, Failure> {
        let Kept { mut stream, address } = match self.reuse(options)? {
            Some(kept) => kept,
            None => self.connect(options, measured).await?,
        };
        measured.address = Some(address);
        let steps = Steps::of(&self.target);
        let mut progress = Progress::default();
        let phase = self.stalls.phase();
        let reply = within(options.reply_timeout, exchange(&mut stream, number, &mut progress)).await;
        measured.end(phase, options.reply_timeout, options);
        steps.exchanged(progress);
        let Reply { round_trip, ended } =
            reply.map_err(|_| Failure::ReplyTimeout(options.reply_timeout))??;
        if ended {
            self.forget_answers();
        } else if options.keep {
            self.kept = Some(Kept { stream, address });
        } else {
            close_lingering(&mut stream).await?;
        }
        Ok(round_trip)
    }

    async fn connect(&mut self, options: Options, measured: &mut Measured) -> Result<Kept, Failure> {
        let connect_timeout = options.connect_timeout;
        let steps = Steps::of(&self.target);
        let known = self
            .answers
            .take()
            .filter(|answers| self.wanted == options.wanted && Instant::now() < answers.until);
        let mut look_up = match known {
            Some(answers) => LookUp::again(answers, options.wanted),
            None => self.resolver.look_up(self.target.endpoint(), options.wanted),
        };
        if look_up.is_under_way() {
            let phase = self.stalls.phase();
            let resolved = resolve(&mut look_up, connect_timeout).await;
            let elapsed = measured.end(phase, connect_timeout, options);
            resolved?;
            measured.resolve = Some(elapsed);
        } else {
            resolve(&mut look_up, connect_timeout).await?;
        }
        steps.resolved(look_up.answers());
        let phase = self.stalls.phase();
        let stream = connect(&mut look_up, options.wanted.source, connect_timeout, steps).await;
        let elapsed = measured.end(phase, connect_timeout, options);
        if let Err(Failure::Connect(attempts)) = &stream {
            measured.address = attempts.address();
        }
        let (address, stream) = stream?;
        measured.connect = Some(elapsed);
        steps.connected(address);
        self.wanted = options.wanted;
        self.answers = Some(look_up.answers().clone());
        self.following = Following::default();
        Ok(Kept { stream, address })
    }

    /// Takes the kept connection, unless the server has ended it meanwhile, which is not a failure.
    fn reuse(&mut self, options: Options) -> Result<Option<Kept>, Failure> {
        let is_wanted = options.keep && self.wanted == options.wanted;
        let Some(kept) = self.kept.take().filter(|_| is_wanted) else { return Ok(None) };
        match peek(&kept.stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(kept)),
            Err(_) | Ok(0) => {
                // It may have stopped, and another may serve in its place.
                self.forget_answers();
                Ok(None)
            }
            Ok(_) => Err(Failure::Surplus),
        }
    }

    /// The next round asks for the name again.
    fn forget_answers(&mut self) {
        self.answers = None;
        self.following = Following::default();
    }
}

#[cfg(test)]
mod tests;
