//! One thread of the generator: an epoll loop over its connections.
//!
//! Not a task a connection: asking would cost the same, but a runtime's timers tick in milliseconds, which each latency
//! of an open loop would include.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use reactor::{Deadlines, Interest, Poller, Ready};

use super::busy::Clocks;
use super::connection::{Connection, State};
use super::mix::Mix;
use super::pace::{OpenLoop, Quota, Times};
use super::progress::Progress;
use super::tally::Tally;
use super::work::Work;
use super::{Load, MOST_CONNECTIONS_PER_SECOND};
use crate::round::reason::{Reason, reason_of};

/// How often progress is published, and how soon a stop is noticed.
const UPKEEP: Duration = Duration::from_millis(100);
/// How long a server that did not answer on a connection is left alone.
const RETRY: Duration = Duration::from_millis(100);
/// How much of its pace opening connections may catch up at once.
const OPENING_BURST: Duration = Duration::from_millis(10);

/// A thread's connections, and all it needs to keep them busy.
pub(super) struct Engine<'a> {
    load: &'a Load,
    thread: usize,
    progress: &'a Progress,
    poller: Poller,
    connections: Vec<Connection>,
    /// By connection: when to see whether what is under way takes too long.
    deadlines: Deadlines,
    /// Which connections are to be opened, and when at the earliest.
    openings: BinaryHeap<Reverse<(Instant, usize)>>,
    next_opening: Instant,
    next_upkeep: Instant,
    is_stopped: bool,
    work: Work<'a>,
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        load: &'a Load,
        mix: &'a Mix,
        quota: &'a Quota,
        progress: &'a Progress,
        thread: usize,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let numbers = (thread..load.connections).step_by(load.threads);
        let connection = |(index, number)| Connection::new(number, index, now);
        Ok(Self {
            load,
            thread,
            progress,
            poller: Poller::new()?,
            connections: numbers.enumerate().map(connection).collect(),
            deadlines: Deadlines::default(),
            openings: BinaryHeap::new(),
            next_opening: now,
            next_upkeep: now,
            is_stopped: false,
            work: Work::new(load, mix, quota, progress.recent()),
        })
    }

    /// Opens the connections that are to be kept. One that cannot be had is counted, and tried again later.
    pub(super) fn connect(&mut self) -> io::Result<()> {
        let (mut now, mut ready) = (Instant::now(), Vec::new());
        let count = self.connections.len();
        let deadline = now + opening_pause(self.load.connections) + self.load.connect_timeout;
        (0..count).for_each(|index| self.open_later(index, now));
        let tried = |tally: &Tally| tally.connections + tally.failed_in_all();
        while now < deadline && !self.is_stopped && tried(&self.work.tally) < count as u64 {
            now = self.turn(&mut ready, deadline)?;
        }
        Ok(())
    }

    /// Asks until the end, and waits for the replies that are under way then.
    pub(super) fn run(mut self, times: Times) -> io::Result<Tally> {
        let Load { rate, threads, .. } = *self.load;
        let count = self.connections.len();
        let open_loop = |rate| OpenLoop::new(times.begin, rate, (self.thread, threads), count);
        self.work.open_loop = rate.map(open_loop);
        self.work.times = Some(times);
        let (mut now, mut ready) = (Instant::now(), Vec::new());
        if self.is_stopped {
            self.work.end(now);
        }
        (0..count).for_each(|index| self.go_on(index, now));
        let mut clocks = None;
        while now < times.until && !self.is_stopped && !self.is_quota_done() {
            if clocks.is_none() && now >= times.measured_from {
                clocks = Some(Clocks::start());
            }
            now = self.turn(&mut ready, times.until)?;
        }
        self.work.tally.threads.extend(clocks.map(|clocks| clocks.read()));
        self.work.end(now);
        self.work.tally.ended = self.work.times.map(|times| times.until);
        self.drain(&mut ready, now)?;
        for connection in self.connections {
            connection.conclude(&mut self.work.tally);
        }
        Ok(self.work.tally)
    }

    /// Whether all requests that were to be sent have been. A closed loop also waits until they are done with, since
    /// nothing that it has not sent by its end is sent any more.
    fn is_quota_done(&self) -> bool {
        self.work.quota.is_used_up() && (self.load.rate.is_some() || !self.is_at_work())
    }

    fn is_at_work(&self) -> bool {
        self.connections.iter().any(Connection::is_at_work)
    }

    /// Waits for the replies under way, each until its own timeout. For as long as one reply may take, an open loop also
    /// sends what fell due before the end.
    fn drain(&mut self, ready: &mut Vec<Ready>, mut now: Instant) -> io::Result<()> {
        let mut backlog_until = self.load.rate.map(|_| now + self.load.reply_timeout);
        if backlog_until.is_none() {
            self.drop_unsent(self.is_stopped);
        }
        while self.is_at_work() {
            now = self.turn(ready, now + UPKEEP)?;
            if backlog_until.is_some_and(|until| until <= now) {
                backlog_until = None;
                self.drop_unsent(true);
            }
        }
        Ok(())
    }

    /// Gives up what has not been sent. Connecting is a part of a request where connections are fresh, so such a request
    /// has begun; it is given up only with `begun`.
    fn drop_unsent(&mut self, begun: bool) {
        self.openings.clear();
        for connection in &mut self.connections {
            if connection.state == State::Connecting && !self.load.keep && !begun {
                continue;
            }
            if self.load.rate.is_some() {
                self.work.tally.unsent += connection.due as u64;
            }
            connection.due = 0;
            if matches!(connection.state, State::Connecting | State::Waiting) {
                connection.close();
            }
        }
    }

    /// Waits for something to do, at the longest until `deadline`, and does it.
    fn turn(&mut self, ready: &mut Vec<Ready>, deadline: Instant) -> io::Result<Instant> {
        let until = self.next_event().min(deadline);
        // Read right before the wait: a timeout that counts from earlier ends late.
        self.poller.wait(ready, Some(until.saturating_duration_since(Instant::now())))?;
        let now = Instant::now();
        // Looked for before anything is sent.
        if self.progress.is_stopped() && !self.is_stopped {
            self.is_stopped = true;
            self.work.end(now);
            self.drop_unsent(true);
        }
        for &ready in &*ready {
            self.ready(ready, now);
        }
        self.give_up_overdue(now);
        self.take_due(now);
        self.open_due(now);
        if now >= self.next_upkeep {
            self.next_upkeep = now + UPKEEP;
            self.progress.publish(self.thread, &self.work.tally, self.work.recent.as_mut());
        }
        Ok(now)
    }

    /// When there is something to do, even if no socket is ready.
    fn next_event(&self) -> Instant {
        let opening = self.openings.peek().map(|&Reverse((at, _))| at.max(self.next_opening));
        let times = [opening, self.work.next_due(), self.deadlines.next()];
        times.into_iter().flatten().fold(self.next_upkeep, Instant::min)
    }

    fn ready(&mut self, ready: Ready, now: Instant) {
        let index = usize::try_from(ready.token).expect("it was a usize");
        let connection = &mut self.connections[index];
        let mut outcome = Ok(());
        if connection.state == State::Connecting {
            outcome = connection.connected(ready.failed, &mut self.work);
        }
        // A server may speak at once, and of each change there is only one event.
        if outcome.is_ok() && connection.state == State::Open && ready.readable {
            outcome = connection.receive(&mut self.work, ready.ended);
        }
        self.proceed(index, outcome, now);
    }

    fn proceed(&mut self, index: usize, outcome: Result<(), Reason>, now: Instant) {
        match outcome {
            Ok(()) => self.go_on(index, now),
            Err(reason) => self.lose(index, reason, now),
        }
    }

    /// Sends what the connection can take; a fresh one that has done its work is closed first.
    fn go_on(&mut self, index: usize, now: Instant) {
        let Some(times) = self.work.times else { return };
        let connection = &mut self.connections[index];
        if connection.unanswered == 0 {
            if self.load.rate.is_none() && connection.due == 0 && now < times.until {
                let pipeline = self.load.pipeline;
                connection.is_measured = now >= times.measured_from;
                connection.due =
                    if connection.is_measured { self.work.quota.take(pipeline) } else { pipeline };
            }
            if connection.is_served && !self.load.keep {
                connection.close();
            }
        }
        match connection.state {
            State::Open => {
                if let Err(reason) = connection.send(&self.work) {
                    return self.lose(index, reason, now);
                }
                self.arm(index);
            }
            State::Closed if connection.due > 0 => self.open_later(index, now),
            _ => {}
        }
    }

    fn lose(&mut self, index: usize, reason: Reason, now: Instant) {
        let connection = &mut self.connections[index];
        let pause = if connection.is_served { Duration::ZERO } else { RETRY };
        connection.lose(reason, &mut self.work);
        let is_over = self.work.times.is_some_and(|times| now >= times.until);
        let is_closed_loop = self.load.rate.is_none();
        if is_over && is_closed_loop {
            connection.due = 0;
        }
        if connection.due > 0 || (!is_over && (self.load.keep || is_closed_loop)) {
            self.open_later(index, now + pause);
        }
    }

    fn open_later(&mut self, index: usize, at: Instant) {
        self.connections[index].state = State::Waiting;
        self.openings.push(Reverse((at, index)));
    }

    /// Opens what is to be opened, never so fast that a connection-tracking table on the way overflows.
    fn open_due(&mut self, now: Instant) {
        while self.next_opening <= now
            && let Some(&Reverse((at, index))) = self.openings.peek()
            && at <= now
        {
            self.openings.pop();
            let earliest = now.checked_sub(OPENING_BURST).unwrap_or(now);
            self.next_opening = (self.next_opening + opening_pause(self.load.threads)).max(earliest);
            let connection = &mut self.connections[index];
            let begun = connection.connect(self.load.address, self.load.keep);
            let watched = begun.and_then(|socket| self.poller.watch(socket, index as u64, Interest::Changes));
            match watched {
                Ok(()) => self.arm(index),
                Err(error) => {
                    let is_without_port = error.kind() == ErrorKind::AddrNotAvailable;
                    self.work.tally.without_port += u64::from(is_without_port);
                    self.lose(index, reason_of(&error, Reason::ConnectTimeout), now);
                }
            }
        }
    }

    fn take_due(&mut self, now: Instant) {
        while let Some(index) = self.work.take_due(now) {
            self.connections[index].due += 1;
            self.go_on(index, now);
        }
    }

    /// Makes sure that the connection is looked at by its deadline.
    fn arm(&mut self, index: usize) {
        if let Some((deadline, _)) = self.connections[index].deadline(self.load) {
            self.deadlines.arm(index, deadline);
        }
    }

    /// Gives up what has taken too long. The kernel is asked first whether anything has arrived.
    fn give_up_overdue(&mut self, now: Instant) {
        while let Some(index) = self.deadlines.take_expired(now) {
            let connection = &mut self.connections[index];
            let mut outcome = Ok(());
            if connection.overdue(self.load, now).is_some() {
                // What has arrived is in time, reported or not: a stop of the process interrupts a wait, and a wait
                // reports only so many sockets.
                outcome = connection.catch_up(&mut self.work);
            }
            if let Some(reason) = connection.overdue(self.load, now) {
                outcome = outcome.and(Err(reason));
            }
            self.proceed(index, outcome, now);
            self.arm(index);
        }
    }
}

/// The shortest time in which this many connections can be opened.
fn opening_pause(connections: usize) -> Duration {
    Duration::from_secs(1) / MOST_CONNECTIONS_PER_SECOND * u32::try_from(connections).unwrap_or(u32::MAX)
}
