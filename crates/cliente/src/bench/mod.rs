//! `cliente bench`: loads a server, and checks and measures each reply.
//!
//! ```text
//! flags ──► run: one engine a thread ──► tally ──► report, json, hdr, limits
//!            engine ── reactor
//!              └─ connection ── mix, pace
//! ```
//!
//! What a latency is:
//!
//! - In a closed loop (no `--rate`), from right before the system call that sent the request, or the batch that it
//!   was part of, to right after the one that read its reply; with `--connection fresh`, from before connecting. While
//!   a server stalls, a closed loop asks nothing, so a stall shows in one reply a connection: it shows how fast the
//!   server is, not how long people would wait.
//! - In an open loop (`--rate`), from the time at which the request was due, whenever it could be sent: whatever
//!   stalls, be it the server, the network or the generator, shows in every request that fell due meanwhile.
//!
//! Both include the kernel's work on either side, the waking of this program, and the time in which a reply waits
//! until the generator has dealt with those that came before it; so watch how busy the generator was.
//!
//! Timeouts are not latencies: a reply timeout runs from when the request was sent, in both loops.

pub mod busy;
pub mod command;
mod connection;
mod distribution;
mod engine;
mod export;
pub mod flags;
pub mod limit;
mod mix;
mod pace;
pub mod progress;
pub mod report;
pub mod tally;
mod watch;
mod work;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

use engine::Engine;
pub use mix::MOST_DEPTH;
use mix::Mix;
use pace::{Quota, Times};
use progress::Progress;
use rustix::thread::set_current_timer_slack;
use tally::Tally;

/// No more connections are opened in a second. Hosts and firewalls remember each for minutes; Linux, by default, a
/// quarter of a million of them.
pub const MOST_CONNECTIONS_PER_SECOND: u32 = 10_000;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// Connections at the same time, at least as many as `threads`.
    pub connections: usize,
    /// Requests under way on one connection, 1 to [`MOST_DEPTH`].
    pub pipeline: usize,
    /// Requests a second in an open loop; without it the loop is closed.
    pub rate: Option<f64>,
    /// How long to measure.
    pub duration: Duration,
    /// How many requests to measure, if that is over earlier.
    pub requests: Option<u64>,
    /// How long to ask before that.
    pub warmup: Duration,
    /// Whether a connection is used for more than one batch.
    pub keep: bool,
    /// How many threads share the connections.
    pub threads: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a reply may take.
    pub reply_timeout: Duration,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All threads' parts.
    pub tally: Tally,
    /// From the first request to the end of the time, or to the stop.
    pub elapsed: Duration,
    /// From the beginning of what was measured to the end of the time, or to the last reply if that came later.
    pub measured: Duration,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

impl Outcome {
    /// The number of right replies that were measured.
    pub fn measured_replies(&self) -> u64 {
        self.tally.latency.len()
    }

    /// Right replies a second, if any were measured.
    pub fn throughput(&self) -> Option<f64> {
        let count = self.measured_replies();
        (count > 0).then(|| float(count) / self.measured.as_secs_f64().max(1e-9))
    }

    /// What failed or was not sent, the warm-up included. A stop leaves requests unsent that have just fallen due.
    pub fn errors(&self) -> u64 {
        self.tally.failed_in_all() + if self.is_stopped { 0 } else { self.tally.unsent }
    }

    /// The errors in percent, if anything came to an end.
    pub fn error_percentage(&self) -> Option<f64> {
        let all = self.errors() + self.tally.right;
        (all > 0).then(|| 100.0 * float(self.errors()) / float(all))
    }

    /// Whether replies were measured, and nothing failed.
    pub fn all_right(&self) -> bool {
        self.measured_replies() > 0 && self.errors() == 0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Asks as `load` says. It ends by itself: after connecting, the warm-up, the duration or the requests, and the
/// timeouts of what is under way then.
///
/// # Errors
///
/// If the system refuses what a thread needs beside its connections.
pub fn run(load: &Load, progress: &Progress) -> io::Result<Outcome> {
    let (mix, quota) = (Mix::new(), Quota::new(load.requests));
    let mut engines = Vec::new();
    for index in 0..load.threads {
        engines.push(Engine::new(load, &mix, &quota, progress, index)?);
    }
    if load.keep {
        engines = on_threads(engines, |mut engine| engine.connect().map(|()| engine))?;
    }
    let begin = Instant::now();
    let measured_from = begin + load.warmup;
    let times = Times { begin, measured_from, until: measured_from + load.duration };
    let mut tally = Tally::new();
    for part in on_threads(engines, |engine| engine.run(times))? {
        tally.add(part);
    }
    let ended = tally.ended.unwrap_or(begin);
    let end = ended.max(tally.last_reply.unwrap_or(begin));
    Ok(Outcome {
        tally,
        elapsed: ended.saturating_duration_since(begin),
        measured: end.saturating_duration_since(measured_from),
        is_stopped: progress.is_stopped(),
    })
}

/// Does `job` with each engine, all at the same time.
fn on_threads<'a, T: Send>(
    engines: Vec<Engine<'a>>,
    job: impl Fn(Engine<'a>) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    thread::scope(|scope| {
        let job = &job;
        let on_thread = |engine| {
            scope.spawn(move || {
                // By default the kernel may end a wait 50 µs late, and each latency of an open loop would include that.
                set_current_timer_slack(NonZeroU64::new(1))?;
                job(engine)
            })
        };
        let threads: Vec<_> = engines.into_iter().map(on_thread).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    })
}
