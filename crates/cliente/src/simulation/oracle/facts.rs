//! What the network did for the rounds of one target.

use std::io::ErrorKind;
use std::net::IpAddr;

use super::super::names::Found;
use super::super::sockets::Segment;

/// What is known of a target's connections and names. What is over is forgotten at the end of each round.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) connections: Vec<Connection>,
    /// When questions were asked, and from which socket.
    pub(super) asked: Vec<(u64, u64)>,
    /// Answers to questions of this round that arrived, and which family they are about.
    pub(super) told: Vec<(u64, bool, Found)>,
    /// Addresses, and until when they may be used.
    pub(super) known: Vec<(IpAddr, u64)>,
    /// Whether the next round must not use what is known.
    pub(super) must_ask: bool,
}

/// An attempt to connect, and what came of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) server: usize,
    pub(super) begun: u64,
    pub(super) result: Option<(u64, Result<(), ErrorKind>)>,
    /// The requests that have no reply yet.
    pub(super) sent: Vec<(u64, Vec<u8>)>,
    /// What has arrived since the last reply.
    pub(super) arrived: Vec<(u64, Segment)>,
    /// When the client has closed it.
    pub(super) closed: Option<u64>,
}

impl Facts {
    pub(super) fn attempt(&mut self, now: u64, server: usize, number: u64) {
        self.connections.push(Connection {
            number,
            server,
            begun: now,
            result: None,
            sent: Vec::new(),
            arrived: Vec::new(),
            closed: None,
        });
    }

    pub(super) fn of(&mut self, number: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.number == number)
    }

    pub(super) fn told(&mut self, now: u64, is_ipv4: bool, found: Found, max_age: u64, is_of_round: bool) {
        if let Found::Addresses(addresses, ttl) = &found {
            let until = now + max_age.min(u64::from(*ttl) * super::super::world::SECOND);
            self.known.extend(addresses.iter().map(|ip| (*ip, until)));
        }
        if is_of_round {
            self.told.push((now, is_ipv4, found));
        }
    }

    /// Connections that were closed before `now` are over.
    pub(super) fn forget_closed(&mut self, now: u64) {
        self.connections.retain(|connection| connection.closed.is_none_or(|at| at >= now));
    }

    /// A round has ended at `now`: what belongs to it is over.
    pub(super) fn end(&mut self, now: u64, has_failed: bool) {
        self.must_ask = has_failed;
        self.forget_closed(now);
        for connection in self.connections.iter_mut().filter(|connection| connection.begun < now) {
            connection.sent.retain(|(at, _)| *at == now);
            // An end that came together with the reply is still to be seen.
            connection.arrived.retain(|(_, segment)| !matches!(segment, Segment::Data(_)));
        }
        self.asked.retain(|(at, _)| *at == now);
        self.told.retain(|(at, ..)| *at == now);
        self.known.retain(|(_, until)| *until >= now);
    }
}
