//! The peers: each has a script, and a way of reading.

use std::collections::VecDeque;

use super::network::{End, State};
use super::trace::{Bytes, trace};
use super::world::{Event, SECOND, World};

/// The peer of a link.
pub(super) struct Peer {
    pub(super) kind: &'static str,
    pub(super) listener: usize,
    pub(super) steps: VecDeque<Step>,
    pub(super) reading: Reading,
    /// How long it takes to react.
    pub(super) reaction: u64,
    /// All bytes that it has read.
    pub(super) got: Vec<u8>,
    lines: usize,
    waits_for: Option<Wait>,
    will_read: bool,
    /// How many more times it tries to connect to a full queue.
    attempts: usize,
}

/// A step of a script.
#[derive(Debug)]
pub(super) enum Step {
    Send(Vec<u8>),
    Pause(u64),
    /// Waits until this many replies with a line end have been read, or the connection has ended.
    AwaitReplies(usize),
    /// Waits for the server's FIN or RST.
    AwaitEnd,
    Read(Reading),
    /// FIN.
    Finish,
    Close,
    Reset,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    Eager,
    Never,
    Slow { bytes: usize, every: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Room,
    Replies(usize),
    End,
}

impl Peer {
    pub(super) fn new(kind: &'static str, listener: usize, steps: Vec<Step>, reaction: u64) -> Self {
        Self {
            kind,
            listener,
            steps: steps.into(),
            reading: Reading::Eager,
            reaction,
            got: Vec::new(),
            lines: 0,
            waits_for: None,
            will_read: false,
            attempts: 5,
        }
    }
}

impl World {
    /// The peer's handshake. It waits in the listener's queue from now on.
    pub(super) fn connect(&mut self, peer: usize) {
        let index = self.peers[peer].listener;
        let listener = &mut self.listeners[index];
        if listener.is_dead || (!listener.is_open && !listener.inherited) {
            trace!(self, "peer {peer} cannot connect: nobody listens");
            return;
        }
        if listener.queue.len() >= listener.backlog {
            self.coverage.count("listener queue full");
            self.peers[peer].attempts -= 1;
            if self.peers[peer].attempts > 0 {
                self.schedule(self.now + SECOND, Event::Connect(peer));
            }
            return;
        }
        listener.queue.push_back(peer);
        self.links[peer].state = State::Queued;
        self.coverage.count(self.peers[peer].kind);
        trace!(self, "peer {peer} ({}, {}) connects", self.peers[peer].kind, self.links[peer].address);
        self.step(peer);
    }

    /// Continues the script of `peer` until it has to wait.
    pub(super) fn step(&mut self, peer: usize) {
        if self.links[peer].peer_end == Some(End::Reset) || self.links[peer].peer_closed {
            self.peers[peer].steps.clear();
            return;
        }
        self.peers[peer].waits_for = None;
        while let Some(step) = self.peers[peer].steps.pop_front() {
            match step {
                Step::Send(bytes) => {
                    if !self.peer_sends(peer, bytes) {
                        return;
                    }
                }
                Step::Pause(time) => return self.schedule(self.now + time, Event::Step(peer)),
                Step::AwaitReplies(lines) => {
                    if self.peers[peer].lines < lines && self.links[peer].peer_end.is_none() {
                        return self.await_peer(peer, Wait::Replies(lines), step);
                    }
                }
                Step::AwaitEnd => {
                    if self.links[peer].peer_end.is_none() || self.links[peer].has_unread() {
                        return self.await_peer(peer, Wait::End, step);
                    }
                }
                Step::Read(reading) => {
                    self.peers[peer].reading = reading;
                    self.arrived(peer);
                }
                Step::Finish => {
                    trace!(self, "peer {peer} sends FIN");
                    self.links[peer].peer_shut_down();
                }
                Step::Close => {
                    trace!(self, "peer {peer} closes");
                    self.links[peer].peer_close();
                }
                Step::Reset => {
                    trace!(self, "peer {peer} sends RST");
                    self.links[peer].reset_server();
                }
            }
        }
    }

    fn await_peer(&mut self, peer: usize, wait: Wait, step: Step) {
        self.peers[peer].waits_for = Some(wait);
        self.peers[peer].steps.push_front(step);
    }

    /// False if the peer must wait for room for a part of the bytes.
    fn peer_sends(&mut self, peer: usize, mut bytes: Vec<u8>) -> bool {
        let count = self.links[peer].peer_send(&bytes);
        if count > 0 {
            trace!(self, "peer {peer} sends {}", Bytes(&bytes[..count]));
        }
        if self.links[peer].peer_end == Some(End::Reset) {
            trace!(self, "peer {peer} is answered with RST");
            self.peers[peer].steps.clear();
            return false;
        }
        if count < bytes.len() {
            self.coverage.count("receive queue full");
            self.await_peer(peer, Wait::Room, Step::Send(bytes.split_off(count)));
            return false;
        }
        true
    }

    /// The server has read from this link, so there is room for more bytes.
    pub(super) fn room_for_peer(&mut self, peer: usize) {
        if self.peers[peer].waits_for == Some(Wait::Room) {
            self.peers[peer].waits_for = None;
            self.schedule(self.now + self.peers[peer].reaction, Event::Step(peer));
        }
    }

    /// Something has reached the peer's host.
    pub(super) fn arrived(&mut self, peer: usize) {
        let Peer { reading, will_read, reaction, .. } = &mut self.peers[peer];
        let delay = match *reading {
            Reading::Eager => *reaction,
            Reading::Slow { every, .. } => every,
            Reading::Never => return,
        };
        if !*will_read {
            *will_read = true;
            self.schedule(self.now + delay, Event::Read(peer));
        }
    }

    /// The peer reads what has arrived.
    pub(super) fn read(&mut self, peer: usize) {
        let most = match self.peers[peer].reading {
            Reading::Eager => usize::MAX,
            Reading::Slow { bytes, .. } => bytes,
            Reading::Never => 0,
        };
        self.peers[peer].will_read = false;
        if most == 0 || self.links[peer].peer_closed {
            return;
        }
        let bytes = self.links[peer].peer_read(most);
        if !bytes.is_empty() {
            trace!(self, "peer {peer} reads {}", Bytes(&bytes));
        }
        self.oracle.peer_read(self.now, peer, &bytes);
        let reader = &mut self.peers[peer];
        reader.lines += bytes.split(|byte| *byte == b'\n').count() - 1;
        reader.got.extend(bytes);
        if self.links[peer].transfer() || self.links[peer].has_unread() {
            self.arrived(peer);
        }
        let (link, reader) = (&self.links[peer], &self.peers[peer]);
        let is_over = link.peer_end.is_some() && !link.has_unread();
        let goes_on = match reader.waits_for {
            Some(Wait::Replies(lines)) => reader.lines >= lines || is_over,
            Some(Wait::End) => is_over,
            Some(Wait::Room) | None => false,
        };
        if goes_on {
            self.peers[peer].waits_for = None;
            self.schedule(self.now + self.peers[peer].reaction, Event::Step(peer));
        }
    }
}
