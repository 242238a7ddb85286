//! The simulated network and its time, in nanoseconds since the beginning.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::choices::Choices;
use super::coverage::Coverage;
use super::names::{Found, Names, Question};
use super::operator::Action;
use super::oracle::Oracle;
use super::servers::Server;
use super::sockets::{Connection, Segment};
use super::trace::{Trace, trace};

pub(super) const MICROSECOND: u64 = 1_000;
pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

/// Where control rounds are answered.
pub(super) const CONTROL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// What the monotonic clock says at the beginning.
pub(super) const AT_BOOT: Duration = Duration::from_hours(1);

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("less than 584 years")
}

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is made, or cannot be made.
    Connected(u64, Result<(), std::io::ErrorKind>),
    /// Something arrives at the client.
    ToClient(u64, Segment),
    /// Something arrives at the server.
    ToServer(u64, Segment),
    /// A server sends something.
    Sends(u64, Segment),
    /// A server's process ends, and its connections with it.
    ServerEnds(usize),
    /// A question arrives at a name server.
    Asked(Question),
    /// An answer arrives at the client.
    Answered(Question, Found),
    /// The stall meter's timer.
    Beat,
    /// The process does not run, or is busy, for so long.
    Stall(Stall),
    Operator(Action),
}

/// A time in which the client's thread does not come to its work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    pub(super) length: u64,
    /// Whether it uses the processor meanwhile.
    pub(super) is_busy: bool,
    /// Whether the first look at the sockets afterwards is interrupted, as by SIGCONT.
    pub(super) is_interrupted: bool,
}

/// Everything but the client.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) choices: Choices,
    client: Choices,
    pub(super) trace: Trace,
    pub(super) coverage: Coverage,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    /// How often the client has waited at this time.
    pub(super) looks: u64,
    pub(super) looked_at: u64,
    pub(super) servers: Vec<Server>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) opened: u64,
    pub(super) names: Names,
    /// The processor time that the client's thread has used.
    pub(super) used: u64,
    beat: Option<u64>,
    beat_key: Option<(u64, u64)>,
    has_beaten: bool,
    /// Whether the runtime has yet to look at the sockets after a stall.
    is_blind: bool,
    beat_waker: Option<Waker>,
    /// Who waits for what has just happened.
    wakers: Vec<Waker>,
    pub(super) oracle: Oracle,
    /// How many requests and attempts of a thousand are followed by a stall.
    pub(super) stalls_in_rounds: u64,
    /// How many rounds were cut short, if the drain took too long.
    pub(super) forced: Option<u64>,
    pub(super) ended: Option<u64>,
}

impl World {
    pub(super) fn new(
        mut choices: Choices,
        servers: Vec<Server>,
        names: Names,
        oracle: Oracle,
        trace: Trace,
    ) -> Self {
        Self {
            now: 0,
            client: choices.fork(),
            choices,
            trace,
            coverage: Coverage::default(),
            events: BTreeMap::new(),
            scheduled: 0,
            looks: 0,
            looked_at: 0,
            servers,
            connections: BTreeMap::new(),
            opened: 0,
            names,
            used: 0,
            beat: None,
            beat_key: None,
            has_beaten: false,
            is_blind: false,
            beat_waker: None,
            wakers: Vec::new(),
            oracle,
            stalls_in_rounds: 0,
            forced: None,
            ended: None,
        }
    }

    pub(super) fn resolv_conf(&self) -> String {
        self.names.resolv_conf()
    }

    /// The seed of the client's next generator of random numbers.
    pub(super) fn next_client_seed(&mut self) -> u64 {
        self.client.seed()
    }

    /// Lets something happen at `at`, but never together with a timer of the client's runtime, which are at whole milliseconds.
    pub(super) fn schedule(&mut self, at: u64, event: Event) -> (u64, u64) {
        let at = at.max(self.now);
        let at = if at.is_multiple_of(MILLISECOND) { at + 1 } else { at };
        self.schedule_exactly(at, event)
    }

    fn schedule_exactly(&mut self, at: u64, event: Event) -> (u64, u64) {
        self.scheduled += 1;
        let key = (at, self.scheduled);
        self.events.insert(key, event);
        key
    }

    /// When something will happen next.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes what happens next, if that is until `until`.
    pub(super) fn take_event(&mut self, until: u64) -> Option<Event> {
        let entry = self.events.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        Some(event)
    }

    pub(super) fn wake_later(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    pub(super) fn set_beat(&mut self, at: Option<u64>) {
        if let Some(key) = self.beat_key.take() {
            self.events.remove(&key);
        }
        self.has_beaten = false;
        self.beat = at;
        let now = self.now;
        self.beat_key = at.map(|at| self.schedule_exactly(at.max(now), Event::Beat));
    }

    pub(super) fn poll_beat(&mut self, waker: &Waker) -> Poll<()> {
        if !self.is_blind && std::mem::take(&mut self.has_beaten) {
            return Poll::Ready(());
        }
        self.beat_waker = Some(waker.clone());
        Poll::Pending
    }

    /// Until the client sees again, the runtime knows nothing about its sockets.
    pub(super) fn blind(&mut self) {
        self.is_blind = true;
    }

    pub(super) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// The runtime has looked at the sockets.
    pub(super) fn unblind(&mut self) {
        self.is_blind = false;
        let beat = self.beat_waker.take();
        self.wake_later(beat);
        self.see();
        self.see_answers();
    }

    /// Handles an event that is no matter of the clock.
    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(connection, result) => self.connected(connection, result),
            Event::ToClient(connection, segment) => self.arrives(connection, segment),
            Event::ToServer(connection, segment) => self.reaches_server(connection, segment),
            Event::Sends(connection, segment) => self.server_sends(connection, segment),
            Event::ServerEnds(server) => self.server_ends(server),
            Event::Asked(question) => self.asked(question),
            Event::Answered(question, found) => self.answered(&question, found),
            Event::Beat => {
                self.beat_key = None;
                self.has_beaten = true;
                let waker = self.beat_waker.take();
                self.wake_later(waker);
            }
            Event::Stall(_) | Event::Operator(_) => {
                trace!(self, "passed over: {event:?}");
            }
        }
    }
}
