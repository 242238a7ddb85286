//! Simulated name servers: RFC 1035.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};

use super::choices::Choices;
use super::trace::trace;
use super::world::{Event, MICROSECOND, MILLISECOND, World};

const HEADER: usize = 12;
const SERVER_FAILURE: u8 = 2;
const NO_NAME: u8 = 3;
const A: u16 = 1;
const AAAA: u16 = 28;

/// What all name servers know, and how they fare.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) servers: Vec<NameServer>,
    #[expect(clippy::struct_field_names, reason = "they are the names")]
    pub(super) names: Vec<Name>,
    sockets: BTreeMap<u64, Socket>,
    opened: u64,
}

/// A name, whose addresses change with time.
#[derive(Debug)]
pub(super) struct Name {
    #[expect(clippy::struct_field_names, reason = "it is the name")]
    pub(super) name: String,
    /// From which time on it has which addresses; the first from the beginning.
    pub(super) addresses: Vec<(u64, Vec<IpAddr>)>,
    /// In seconds.
    pub(super) ttl: u32,
}

#[derive(Debug)]
pub(super) struct NameServer {
    pub(super) address: IpAddr,
    pub(super) weather: Vec<(u64, NameWeather)>,
    pub(super) delay: (u64, u64),
    pub(super) loss: u64,
    pub(super) choices: Choices,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameWeather {
    Answers,
    Silent,
    Fails,
    Denies,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Addresses(Vec<IpAddr>, u32),
    NoName,
    Failure,
}

impl Found {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        matches!(self, Self::Addresses(addresses, _) if addresses.contains(&address))
    }
}

#[derive(Debug, Default)]
struct Socket {
    answers: VecDeque<(Vec<u8>, SocketAddr)>,
    waker: Option<Waker>,
}

/// A datagram of the client's to a name server.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) socket: u64,
    pub(super) server: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, kind) = self.subject();
        let kind = if kind == AAAA { "AAAA" } else { "A" };
        write!(formatter, "{name} {kind} to {} (socket {})", self.server.ip(), self.socket)
    }
}

impl Question {
    /// The name in lower case with its last dot, and the type of its records.
    pub(super) fn subject(&self) -> (String, u16) {
        let mut at = HEADER;
        let mut name = String::new();
        while let Some(&length) = self.bytes.get(at).filter(|length| **length > 0) {
            let end = at + 1 + usize::from(length);
            name += &String::from_utf8_lossy(&self.bytes[at + 1..end]).to_ascii_lowercase();
            name.push('.');
            at = end;
        }
        (name, u16::from_be_bytes([self.bytes[at + 1], self.bytes[at + 2]]))
    }

    fn answer(&self, found: &Found, kind: u16) -> Vec<u8> {
        let (code, addresses, ttl) = match found {
            Found::Addresses(addresses, ttl) => (0, &addresses[..], *ttl),
            Found::NoName => (NO_NAME, &[][..], 0),
            Found::Failure => (SERVER_FAILURE, &[][..], 0),
        };
        let count = u8::try_from(addresses.len()).expect("few addresses");
        let mut answer = vec![self.bytes[0], self.bytes[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        let end = HEADER + self.bytes[HEADER..].iter().position(|byte| *byte == 0).expect("a name ends") + 5;
        answer.extend(&self.bytes[HEADER..end]);
        for address in addresses {
            let data = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend([0, u8::try_from(data.len()).expect("4 or 16")]);
            answer.extend(data);
        }
        answer
    }
}

impl Names {
    pub(super) fn new(servers: Vec<NameServer>, names: Vec<Name>) -> Self {
        Self { servers, names, ..Self::default() }
    }

    pub(super) fn resolv_conf(&self) -> String {
        let servers = self.servers.iter().map(|server| format!("nameserver {}\n", server.address));
        servers.chain(["search invalid\n".to_owned()]).collect()
    }

    fn found(&self, server: usize, now: u64, name: &str, kind: u16) -> Option<Found> {
        let weather = &self.servers[server].weather;
        let after = weather.partition_point(|(from, _)| *from <= now);
        match weather[after - 1].1 {
            NameWeather::Silent => return None,
            NameWeather::Fails => return Some(Found::Failure),
            NameWeather::Denies => return Some(Found::NoName),
            NameWeather::Answers => {}
        }
        let Some(name) = self.names.iter().find(|known| known.name == name) else {
            return Some(Found::NoName);
        };
        let after = name.addresses.partition_point(|(from, _)| *from <= now);
        let addresses = name.addresses[after - 1].1.iter().filter(|ip| ip.is_ipv4() == (kind == A));
        Some(Found::Addresses(addresses.copied().collect(), name.ttl))
    }
}

impl World {
    pub(super) fn open_datagrams(&mut self) -> u64 {
        self.names.opened += 1;
        self.names.sockets.insert(self.names.opened, Socket::default());
        self.names.opened
    }

    pub(super) fn close_datagrams(&mut self, socket: u64) {
        self.names.sockets.remove(&socket);
        trace!(self, "socket {socket} closed");
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.names.sockets.len() + self.connections.len()
    }

    /// The client sends a question.
    pub(super) fn asks(&mut self, question: Question) {
        let now = self.now;
        trace!(self, "asks for {question:?}");
        self.oracle.asked(now, &question.subject().0, question.socket);
        let server = self.names.servers.iter_mut().find(|server| server.address == question.server.ip());
        let Some(server) = server else {
            self.oracle.fail(now, format_args!("there is no name server {}", question.server));
            return;
        };
        if !server.choices.per_mille(server.loss) {
            let at = now + server.choices.between(server.delay.0, server.delay.1);
            self.schedule(at, Event::Asked(question));
        }
    }

    /// A question arrives.
    pub(super) fn asked(&mut self, question: Question) {
        let now = self.now;
        let servers = &mut self.names.servers;
        let Some(index) = servers.iter().position(|server| server.address == question.server.ip()) else {
            return;
        };
        let (name, kind) = question.subject();
        let Some(found) = self.names.found(index, now, &name, kind) else {
            self.coverage.count("names: silent");
            return;
        };
        self.coverage.count(match found {
            Found::Addresses(..) => "names: answered",
            Found::NoName => "names: no such name",
            Found::Failure => "names: failed",
        });
        let server = &mut self.names.servers[index];
        if server.choices.per_mille(server.loss) {
            return;
        }
        let at = now + server.choices.between(server.delay.0, server.delay.1) + 20 * MICROSECOND;
        self.schedule(at, Event::Answered(question, found));
    }

    /// An answer arrives at the client.
    pub(super) fn answered(&mut self, question: &Question, found: Found) {
        let now = self.now;
        let (name, kind) = question.subject();
        let Some(socket) = self.names.sockets.get_mut(&question.socket) else { return };
        socket.answers.push_back((question.answer(&found, kind), question.server));
        let waker = socket.waker.take();
        trace!(self, "is told of {question:?}: {found:?}");
        self.oracle.told(now, (&name, question.socket), kind == A, found);
        self.wake_later(waker);
    }

    pub(super) fn poll_answer(&mut self, socket: u64, waker: &Waker) -> Poll<(Vec<u8>, SocketAddr)> {
        let is_blind = self.is_blind();
        let socket = self.names.sockets.get_mut(&socket).expect("the client has it open");
        if !is_blind && let Some(answer) = socket.answers.pop_front() {
            return Poll::Ready(answer);
        }
        socket.waker = Some(waker.clone());
        Poll::Pending
    }

    /// The runtime sees all sockets again.
    pub(super) fn see_answers(&mut self) {
        let wakers: Vec<Waker> =
            self.names.sockets.values_mut().filter_map(|socket| socket.waker.take()).collect();
        for waker in wakers {
            self.wake_later(Some(waker));
        }
    }
}

/// The shortest and longest ways to a name server.
pub(super) fn delay(choices: &mut Choices) -> (u64, u64) {
    let least = choices.magnitude(50 * MICROSECOND, 100 * MILLISECOND);
    (least, least + choices.magnitude(MICROSECOND, 100 * MILLISECOND))
}
