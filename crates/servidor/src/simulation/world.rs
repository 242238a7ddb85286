//! The simulated world: its time, the network, the peers, the faults. One lock protects all of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::choices::Choices;
use super::coverage::Coverage;
use super::faults::Faults;
use super::network::{Link, State};
use super::oracle::Oracle;
use super::peers::Peer;
use super::trace::Trace;
use crate::kernel::{Interest, Ready};

pub(crate) const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// See the module. Times are nanoseconds since the run began.
pub(crate) struct World {
    pub(super) now: u64,
    pub(super) choices: Choices,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    /// Peers by number. Each has one link with the same number.
    pub(super) peers: Vec<Peer>,
    pub(super) links: Vec<Link>,
    pub(super) listeners: Vec<Listener>,
    pub(super) loops: Vec<Loop>,
    pub(super) faults: Faults,
    pub(super) oracle: Oracle,
    pub(super) coverage: Coverage,
    pub(super) trace: Trace,
    pub(super) calls: u64,
    /// Kernel calls since an event loop last waited: it shows whether one spins.
    pub(super) calls_since_wait: u64,
    /// How long a kernel call takes.
    pub(super) cost: u64,
    /// How many events one wait reports at most.
    pub(super) batch: usize,
}

/// An event that the server does not cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A peer connects.
    Connect(usize),
    /// A peer continues its script.
    Step(usize),
    /// A peer reads.
    Read(usize),
    /// The fault with this number in the schedule begins or ends.
    Fault(usize),
}

/// A listening socket.
pub(super) struct Listener {
    pub(super) queue: VecDeque<usize>,
    pub(super) backlog: usize,
    /// Another process holds it too, so closing it here leaves the queue unchanged.
    pub(super) inherited: bool,
    pub(super) is_open: bool,
    /// It was shut down from outside.
    pub(super) is_dead: bool,
}

/// The kernel's state for an event loop.
#[derive(Default)]
pub(super) struct Loop {
    pub(super) watches: Vec<Watch>,
    pub(super) is_woken: bool,
    /// Ready, and not reported by the last wait.
    pub(super) left_out: Vec<Ready>,
    /// Waits that reported something, since a call last had an effect.
    pub(super) waits_in_vain: u32,
    /// Waits that reported nothing, one after the other.
    pub(super) idle_waits: u32,
    /// It is suspended until then.
    pub(super) suspended_until: u64,
    pub(super) has_ended: bool,
}

/// An entry of an epoll instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    pub(super) target: Target,
    pub(super) ready: Ready,
    pub(super) interest: Interest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Link(usize),
    Listener(usize),
}

impl Listener {
    pub(super) fn new(backlog: usize, inherited: bool) -> Self {
        Self { queue: VecDeque::new(), backlog, inherited, is_open: true, is_dead: false }
    }
}

impl World {
    pub(super) fn new(choices: Choices, oracle: Oracle, loops: usize, trace: Trace) -> Self {
        Self {
            now: 0,
            choices,
            events: BinaryHeap::new(),
            scheduled: 0,
            peers: Vec::new(),
            links: Vec::new(),
            listeners: Vec::new(),
            loops: std::iter::repeat_with(Loop::default).take(loops).collect(),
            faults: Faults::default(),
            oracle,
            coverage: Coverage::default(),
            trace,
            calls: 0,
            calls_since_wait: 0,
            cost: MICROSECOND,
            batch: 256,
        }
    }

    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    /// The time of the next event.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Advances the time. Peers act meanwhile.
    pub(super) fn advance_to(&mut self, target: u64) {
        while let Some(Reverse((at, _, event))) = self.events.peek().copied()
            && at <= target
        {
            self.events.pop();
            self.now = self.now.max(at);
            match event {
                Event::Connect(peer) => self.connect(peer),
                Event::Step(peer) => self.step(peer),
                Event::Read(peer) => self.read(peer),
                Event::Fault(fault) => self.turn_fault(fault),
            }
        }
        self.now = self.now.max(target);
    }

    /// How many descriptors the server has open.
    pub(super) fn open_descriptors(&self) -> usize {
        let listeners = self.listeners.iter().filter(|listener| listener.is_open).count();
        listeners + self.links.iter().filter(|link| link.state == State::Open).count()
    }

    pub(super) fn is_ready(&self, watch: &Watch) -> bool {
        match watch.target {
            Target::Listener(listener) => {
                let listener = &self.listeners[listener];
                listener.is_dead || !listener.queue.is_empty()
            }
            Target::Link(link) => {
                let link = &self.links[link];
                link.is_over()
                    || match watch.interest {
                        Interest::Read => link.is_readable(),
                        Interest::Write => link.is_writable(),
                        Interest::Changes => unreachable!("servers here watch levels only"),
                    }
            }
        }
    }

    /// Whether a wait of this event loop would return at once.
    pub(super) fn has_ready(&self, event_loop: usize) -> bool {
        let event_loop = &self.loops[event_loop];
        event_loop.is_woken || event_loop.watches.iter().any(|watch| self.is_ready(watch))
    }
}
