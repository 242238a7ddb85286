//! A small name server, whose every answer the test decides: RFC 1035, RFC 2782, RFC 3596.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::wait_until;

/// Types of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Hosts of a service.
    Srv,
}

/// What becomes of a query.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Addresses, with their TTL in seconds. None of them: the name has no record of this kind.
    Addresses(Vec<IpAddr>, u32),
    /// Hosts of a service: priority, weight, port and name.
    Hosts(Vec<(u16, u16, u16, String)>, u32),
    /// SERVFAIL.
    Failure,
    /// NXDOMAIN.
    NoName,
    /// It is lost on the way.
    Dropped,
}

const SERVER_FAILURE: u8 = 2;
const NO_NAME: u8 = 3;
const HEADER: usize = 12;

/// The running server, which answers NXDOMAIN for unknown names.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    socket: UdpSocket,
}

#[derive(Debug, Default)]
struct State {
    /// Answers that wait, if they do, and who they are for.
    held: Option<Vec<(Vec<u8>, SocketAddr)>>,
    answers: HashMap<(String, Kind), Answer>,
    zones: HashMap<String, Answer>,
    queries: Vec<(String, Kind)>,
}

impl Dns {
    /// Listens at `address`.
    pub fn at(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = socket.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let answering = socket.try_clone().expect("a socket");
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, peer)) = answering.recv_from(&mut query) {
                let Some(reply) = reply(&query[..length], &shared) else { continue };
                match &mut lock(&shared).held {
                    Some(held) => held.push((reply, peer)),
                    // A peer that went away needs none.
                    None => drop(answering.send_to(&reply, peer)),
                }
            }
        });
        Self { address, state, socket }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers wait.
    pub fn hold(&self) {
        lock(&self.state).held = Some(Vec::new());
    }

    /// Sends the answers that wait.
    pub fn release(&self) {
        let held = lock(&self.state).held.take();
        for (reply, peer) in held.into_iter().flatten() {
            self.socket.send_to(&reply, peer).expect("a peer that waits");
        }
    }

    /// From now on, queries about `name` are answered like this.
    pub fn set(&self, name: &str, kind: Kind, answer: Answer) {
        lock(&self.state).answers.insert((name.to_owned(), kind), answer);
    }

    /// From now on, `name` has these addresses and no others.
    pub fn set_addresses(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address"));
        let (ipv4, ipv6) = addresses.partition(IpAddr::is_ipv4);
        self.set(name, Kind::A, Answer::Addresses(ipv4, ttl));
        self.set(name, Kind::Aaaa, Answer::Addresses(ipv6, ttl));
    }

    /// From now on, all queries about names in `zone` are answered like this, unless a name has answers of its own.
    pub fn set_zone(&self, zone: &str, answer: Answer) {
        lock(&self.state).zones.insert(zone.to_owned(), answer);
    }

    /// How many queries for this have come, those that were dropped included.
    pub fn queries(&self, name: &str, kind: Kind) -> usize {
        lock(&self.state).queries.iter().filter(|(asked, other)| asked == name && *other == kind).count()
    }

    /// Waits until this many queries for it have come.
    pub fn wait_for_queries(&self, name: &str, kind: Kind, count: usize) {
        wait_until(&format!("{count} queries for {name}"), || self.queries(name, kind) >= count);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reply(query: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let (name, kind, question) = question(query)?;
    let mut state = lock(state);
    state.queries.push((name.clone(), kind));
    let answer = answer(&state, &name, kind);
    let (code, records, ttl) = match answer {
        Answer::Addresses(addresses, ttl) => (0, addresses.iter().map(|&ip| address_data(ip)).collect(), ttl),
        Answer::Hosts(hosts, ttl) => (0, hosts.iter().map(host_data).collect(), ttl),
        Answer::Failure => (SERVER_FAILURE, Vec::new(), 0),
        Answer::NoName => (NO_NAME, Vec::new(), 0),
        Answer::Dropped => return None,
    };
    let count = u8::try_from(records.len()).expect("few records");
    // The query's number; a response to a query that wants recursion, which is there; one question; the answers.
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    reply.extend(question);
    for data in records {
        // The name is that of the question, which follows the header.
        reply.extend([0xc0, u8::try_from(HEADER).expect("12")]);
        reply.extend(number(kind).to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(ttl.to_be_bytes());
        reply.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

fn answer(state: &State, name: &str, kind: Kind) -> Answer {
    if let Some(answer) = state.answers.get(&(name.to_owned(), kind)) {
        return answer.clone();
    }
    if state.answers.keys().any(|(other, _)| other == name) {
        return Answer::Addresses(Vec::new(), 0);
    }
    let zone = state.zones.iter().find(|(zone, _)| name.ends_with(&format!(".{zone}")));
    zone.map_or(Answer::NoName, |(_, answer)| answer.clone())
}

/// The name in lower case, without the last dot, the type, and the bytes of the whole question.
fn question(query: &[u8]) -> Option<(String, Kind, &[u8])> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv];
    let asked = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let kind = kind.into_iter().find(|&kind| number(kind) == asked)?;
    Some((labels.join("."), kind, query.get(HEADER..at + 4)?))
}

fn number(kind: Kind) -> u16 {
    match kind {
        Kind::A => 1,
        Kind::Aaaa => 28,
        Kind::Srv => 33,
    }
}

fn address_data(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn host_data((priority, weight, port, name): &(u16, u16, u16, String)) -> Vec<u8> {
    let mut data = [priority, weight, port].map(|number| number.to_be_bytes()).concat();
    for label in name.split('.') {
        data.push(u8::try_from(label.len()).expect("a short label"));
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}
