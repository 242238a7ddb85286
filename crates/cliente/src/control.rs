//! The control round: this host asks itself.
//!
//! Once per interval a round is made with a socket of this process on loopback. If even that fails or is slow, the failures of other
//! rounds say nothing about servers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use daemon::accept::{AcceptErrors, AfterError, PAUSE};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use protocol::{MAX_DIGITS, Number, answer};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::draw::draw;
use crate::host::rng;
use crate::observe::Observers;
use crate::observe::history::CAPACITY;
use crate::observe::own_host::OwnHost;
use crate::probes::probe::Context;
use crate::resolve::Wanted;
use crate::round::{Options, Outcome, Session};
use crate::schedule::Schedule;

/// A control round is slow if it takes more than this part of `reply-timeout`.
const SLOW_PART: u32 = 10;
/// How long the answering thread waits for a request.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the phase of the control round is derived from; no target is named like this.
const NAME: &str = "control";

/// The series of control rounds.
pub(crate) struct Metrics {
    round_trip: Histogram,
    failures: Counter,
    up: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn register() -> Self {
        let metrics = Self {
            round_trip: histogram!(
                description: "Round trip of the control rounds, which this process makes with itself over loopback.",
                "cliente_control_round_trip_seconds"
            ),
            failures: counter!(
                description: "Control rounds that failed or were slow: then the failures of other rounds may be this host's.",
                "cliente_control_rounds_failed_total"
            ),
            up: gauge!(
                description: "1 if the last control round was right and quick, else 0.",
                "cliente_control_up"
            ),
        };
        metrics.up.set(1.0);
        metrics
    }
}

/// Starts a thread that answers each request on a loopback address. Returns that address, and what tells why the thread has
/// ended.
///
/// # Errors
///
/// If there is no free port or no thread.
pub(crate) fn start_answering() -> io::Result<(SocketAddr, Option<oneshot::Receiver<io::Error>>)> {
    #[cfg(feature = "simulation")]
    if let Some(address) = crate::simulation::host::control_address() {
        return Ok((address, None));
    }
    let (sender, ended) = oneshot::channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        let error = answer_all(&listener);
        // Nobody waits for it once the rounds have ended.
        let _ = sender.send(error);
    })?;
    Ok((address, Some(ended)))
}

/// Answers until the socket no longer listens. Then it returns why.
fn answer_all(listener: &TcpListener) -> io::Error {
    let mut errors = AcceptErrors::default();
    loop {
        let error = match listener.accept() {
            Ok((stream, _)) => {
                errors.reset();
                // A connection that breaks is the control round's to report.
                let _ = answer_one(&stream);
                continue;
            }
            Err(error) => error,
        };
        match errors.after(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)) {
            AfterError::Next => {}
            #[expect(clippy::disallowed_methods, reason = "no event says that files can be opened again")]
            AfterError::Pause => thread::sleep(PAUSE),
            AfterError::GiveUp => return error,
        }
    }
}

/// Answers one request, and waits for the peer's FIN, so that the TIME_WAIT is not at the listening port.
fn answer_one(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::with_capacity(MAX_DIGITS + 2, io::Read::take(stream, MAX_DIGITS as u64 + 2));
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if let Ok(number) = Number::parse(line.trim_ascii_end()) {
        let mut stream = stream;
        stream.write_all(&[answer(&number), b"\n"].concat())?;
        reader.read_until(b'\n', &mut line)?;
    }
    Ok(())
}

/// Makes control rounds with `address` until the stop.
pub(crate) async fn control(address: SocketAddr, mut context: Context) {
    let target = address.to_string().parse().expect("an address and a port are a target");
    let mut session = Session::new(target, context.stalls.clone(), context.resolver.clone());
    let metrics = Metrics::register();
    let mut since = context.epoch.start();
    while !context.stop.is_cancelled() {
        let own = context.settings.borrow_and_update().own.clone();
        let (interval, options) = (own.interval.get(), own.round_options());
        let mut schedule = Schedule::new(context.epoch.first_tick(NAME, interval, since), interval);
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            // The sender outlives the rounds, or no setting changes any more.
            Ok(()) = context.settings.changed() => since = Instant::now(),
            () = rounds(&mut schedule, &mut session, options, &context.observers, &metrics) => {}
        }
    }
}

async fn rounds(
    schedule: &mut Schedule,
    session: &mut Session,
    options: Options,
    observers: &Observers,
    metrics: &Metrics,
) {
    let options = Options { keep: false, wanted: Wanted::ANY, ..options };
    loop {
        schedule.tick().await;
        let number = draw(&mut rng());
        let (outcome, _) = schedule.during(session.round(number, options)).await;
        observers.totals.history.control.add(&outcome, CAPACITY);
        record(&outcome, options, &observers.own_host, metrics);
    }
}

fn record(outcome: &Outcome, options: Options, own_host: &OwnHost, metrics: &Metrics) {
    if outcome.disturbed.is_some() {
        return;
    }
    let is_well = outcome.result.is_ok() && outcome.elapsed <= options.reply_timeout / SLOW_PART;
    if let Ok(round_trip) = outcome.result {
        metrics.round_trip.record(round_trip);
    }
    metrics.up.set(if is_well { 1.0 } else { 0.0 });
    if !is_well {
        metrics.failures.increment(1);
    }
    if own_host.update(is_well) {
        let elapsed_us = u64::try_from(outcome.elapsed.as_micros()).unwrap_or(u64::MAX);
        if is_well {
            tracing::info!(elapsed_us, "control round recovered");
        } else {
            let error = outcome.result.as_ref().err().map(ToString::to_string);
            tracing::warn!(elapsed_us, error, "control round failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::failure::Failure;

    const OPTIONS: Options = Options {
        connect_timeout: Duration::from_secs(3),
        reply_timeout: Duration::from_secs(3),
        stall_threshold: Duration::from_millis(1),
        keep: false,
        wanted: Wanted::ANY,
    };

    fn outcome(result: Result<Duration, Failure>, elapsed_ms: u64, disturbed: Option<Duration>) -> Outcome {
        let elapsed = Duration::from_millis(elapsed_ms);
        Outcome { resolve: None, address: None, connect: None, result, elapsed, disturbed }
    }

    #[test]
    fn a_control_round_that_fails_or_is_slow_puts_the_own_host_in_trouble_until_one_is_quick() {
        let (own_host, metrics) = (OwnHost::default(), Metrics::register());
        let quick = || Ok(Duration::from_micros(80));
        let stall = Some(Duration::from_secs(1));
        for (result, elapsed_ms, disturbed, in_trouble) in [
            (quick(), 1, None, false),
            (quick(), 300, None, false),
            (quick(), 301, None, true),
            // A disturbed round says nothing, either way.
            (quick(), 1, stall, true),
            (quick(), 1, None, false),
            (Err(Failure::Closed), 1, stall, false),
            (Err(Failure::Closed), 1, None, true),
            (quick(), 1, None, false),
        ] {
            let outcome = outcome(result, elapsed_ms, disturbed);
            record(&outcome, OPTIONS, &own_host, &metrics);
            assert_eq!(own_host.is_in_trouble(), in_trouble, "{outcome:?}");
        }
    }
}
