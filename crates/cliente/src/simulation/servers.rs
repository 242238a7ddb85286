//! Simulated servers, and the network that leads to each of them.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::choices::Choices;
use super::sockets::Segment;
use super::trace::trace;
use super::world::{Event, MICROSECOND, MILLISECOND, SECOND, World};

/// When SYN packets are sent, after the first.
const SYN_AGAIN: [u64; 5] = [0, SECOND, 3 * SECOND, 7 * SECOND, 15 * SECOND];
/// The first retransmission of data comes after so long, each further one after twice the time.
const DATA_AGAIN: u64 = 200 * MILLISECOND;
/// How often data is sent at most.
const TRIES: u32 = 9;

/// What becomes of packets to and from a server from some time on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) from: u64,
    pub(super) service: Service,
    /// Whether packets to the server get there, and those of the server back.
    pub(super) passes: [bool; 2],
    /// The least and the greatest time of a packet's way.
    pub(super) delay: (u64, u64),
    /// How many packets of a thousand are lost.
    pub(super) loss: u64,
    /// How many connections of a thousand are served in an unusual way.
    pub(super) oddities: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Serves,
    /// Nobody listens.
    Refuses,
    /// A full queue, or a firewall: SYN packets are dropped.
    Silent,
    /// A router says that there is no way.
    Unreachable,
    /// This host has no route.
    NoRoute,
    /// This host has no descriptors left.
    NoDescriptors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    There,
    Back,
}

/// How an attempt to connect ends.
pub(super) enum Handshake {
    AtOnce(ErrorKind),
    Ends(u64, Result<(), ErrorKind>),
    Never,
}

/// How a server treats a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Right,
    /// In two pieces.
    Split,
    /// Without a line end, then FIN, as the original program does.
    Unterminated,
    /// A right line, and FIN at once.
    Closes,
    /// A right line, and RST at once.
    ResetsAfter,
    /// Two lines at once.
    Surplus,
    /// A second line while the client closes.
    SurplusLater,
    Wrong,
    /// Right but for the last byte.
    NearlyRight,
    Rejects,
    /// `ERRO ocupado` and FIN, before any request.
    Busy,
    ClosesUnanswered,
    Resets,
    Silent,
    /// Half of the reply, and no more.
    Half,
    /// Long after each deadline.
    Late,
    /// Does not close after the client.
    LeavesOpen,
    /// Ends an idle connection.
    ClosesIdle,
}

const ODD: [Plan; 17] = [
    Plan::Split,
    Plan::Unterminated,
    Plan::Closes,
    Plan::ResetsAfter,
    Plan::Surplus,
    Plan::SurplusLater,
    Plan::Wrong,
    Plan::NearlyRight,
    Plan::Rejects,
    Plan::Busy,
    Plan::ClosesUnanswered,
    Plan::Resets,
    Plan::Silent,
    Plan::Half,
    Plan::Late,
    Plan::LeavesOpen,
    Plan::ClosesIdle,
];

/// A server at an address.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// In order of time; the first is from the beginning.
    pub(super) weather: Vec<Weather>,
    /// Those of this server only, so that what it does does not depend on others.
    pub(super) choices: Choices,
}

impl Server {
    fn weather(&self, at: u64) -> Weather {
        let after = self.weather.partition_point(|weather| weather.from <= at);
        self.weather[after - 1]
    }

    fn delay(&mut self, weather: Weather) -> u64 {
        self.choices.between(weather.delay.0, weather.delay.1)
    }

    /// Whether a packet that is sent at `at` arrives.
    fn passes(&mut self, at: u64, direction: Direction) -> bool {
        let weather = self.weather(at);
        let has_way = !matches!(weather.service, Service::Unreachable | Service::NoRoute);
        has_way && weather.passes[direction as usize] && !self.choices.per_mille(weather.loss)
    }

    /// What becomes of a connection that the client begins at `now`.
    pub(super) fn handshake(&mut self, now: u64) -> Handshake {
        match self.weather(now).service {
            Service::NoRoute => return Handshake::AtOnce(ErrorKind::NetworkUnreachable),
            Service::NoDescriptors => return Handshake::AtOnce(ErrorKind::Other),
            _ => {}
        }
        for wait in SYN_AGAIN {
            let at = now + wait;
            let weather = self.weather(at);
            let there = at + self.delay(weather);
            if weather.service == Service::Unreachable && weather.passes[1] {
                return Handshake::Ends(there, Err(ErrorKind::HostUnreachable));
            }
            let back = there + self.delay(weather);
            let goes_through = self.passes(at, Direction::There) && self.passes(there, Direction::Back);
            match weather.service {
                Service::Refuses if goes_through => {
                    return Handshake::Ends(back, Err(ErrorKind::ConnectionRefused));
                }
                Service::Serves if goes_through => return Handshake::Ends(back, Ok(())),
                _ => {}
            }
        }
        Handshake::Never
    }

    /// When something arrives that one side sends at `now`: it is sent again until it does.
    pub(super) fn transmit(&mut self, now: u64, direction: Direction) -> Option<u64> {
        let mut at = now;
        for attempt in 0..TRIES {
            if self.passes(at, direction) {
                let weather = self.weather(at);
                return Some(at + self.delay(weather));
            }
            at += DATA_AGAIN << attempt;
        }
        None
    }

    /// How the server treats a connection that begins at `now`, or its next request.
    pub(super) fn plan(&mut self, now: u64) -> Plan {
        let odd = self.weather(now).oddities;
        if self.choices.per_mille(odd) { *self.choices.pick(&ODD) } else { Plan::Right }
    }
}

/// The reply to a number, without its line end, as README says.
pub(super) fn reply_to(number: &[u8]) -> Vec<u8> {
    let is_even = number.last().is_some_and(|digit| digit % 2 == 0);
    match number.len() {
        11.. => number.to_vec(),
        _ if is_even => b"PAR".to_vec(),
        _ => "ÍMPAR".as_bytes().to_vec(),
    }
}

impl World {
    /// Something arrives at a server.
    pub(super) fn reaches_server(&mut self, number: u64, segment: Segment) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.server_is_done {
            return;
        }
        let server = &mut self.servers[connection.server];
        if server.weather(now).service == Service::Refuses {
            self.server_sends(number, Segment::Reset);
            return;
        }
        match segment {
            Segment::Data(bytes) => {
                connection.request.extend(bytes);
                if connection.request.last() == Some(&b'\n') {
                    let request = std::mem::take(&mut connection.request);
                    self.serve(number, request.trim_ascii_end());
                }
            }
            Segment::Fin => {
                let wait = server.choices.magnitude(5 * MICROSECOND, MILLISECOND);
                match connection.plan {
                    Plan::LeavesOpen | Plan::Silent | Plan::Half => {}
                    Plan::SurplusLater => {
                        self.send_later(now + wait, number, Segment::Data(b"PAR\n".to_vec()));
                    }
                    _ => self.send_later(now + wait, number, Segment::Fin),
                }
            }
            Segment::Reset => {}
        }
    }

    fn send_later(&mut self, at: u64, number: u64, segment: Segment) {
        self.schedule(at, Event::Sends(number, segment));
    }

    /// A server has read a request.
    fn serve(&mut self, number: u64, request: &[u8]) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let server = &mut self.servers[connection.server];
        let plan = connection.plan;
        self.coverage.count(plan_name(plan));
        trace!(self, "#{number} server: {plan:?}");
        let at = now + server.choices.magnitude(10 * MICROSECOND, 20 * MILLISECOND);
        let later = at + server.choices.magnitude(100 * MICROSECOND, SECOND);
        let word = reply_to(request);
        let line = [&word[..], b"\n"].concat();
        let half = server.choices.between(1, line.len() as u64 - 1);
        let (first, rest) = line.split_at(usize::try_from(half).expect("a short line"));
        let data = |bytes: &[u8]| Segment::Data(bytes.to_vec());
        let nearly = || {
            let mut bytes = line.clone();
            bytes[word.len() - 1] ^= 1;
            Segment::Data(bytes)
        };
        let wrong = if word == b"PAR" { "ÍMPAR\n" } else { "PAR\n" };
        let sends = match plan {
            Plan::Right | Plan::LeavesOpen | Plan::SurplusLater => vec![(at, data(&line))],
            Plan::Split => vec![(at, data(first)), (later, data(rest))],
            Plan::Unterminated => vec![(at, data(&word)), (at, Segment::Fin)],
            Plan::Closes => vec![(at, data(&line)), (at, Segment::Fin)],
            Plan::ResetsAfter => vec![(at, data(&line)), (at, Segment::Reset)],
            Plan::Surplus => vec![(at, data(&[&line[..], &line[..]].concat()))],
            Plan::Wrong => vec![(at, data(wrong.as_bytes()))],
            Plan::NearlyRight => vec![(at, nearly())],
            Plan::Rejects => vec![(at, data("ERRO invalido: x\n".as_bytes()))],
            Plan::Busy | Plan::Silent => vec![],
            Plan::ClosesUnanswered => vec![(at, Segment::Fin)],
            Plan::Resets => vec![(at, Segment::Reset)],
            Plan::Half => vec![(at, data(first))],
            Plan::Late => vec![(later + 4 * SECOND, data(&line))],
            Plan::ClosesIdle => vec![(at, data(&line)), (later, Segment::Fin)],
        };
        // The next request on this connection is treated in another way.
        connection.plan = match plan {
            Plan::LeavesOpen | Plan::SurplusLater | Plan::Silent | Plan::Half => plan,
            _ => server.plan(now),
        };
        for (at, segment) in sends {
            self.send_later(at, number, segment);
        }
    }

    /// A server's process ends: its connections are closed, or reset if it was killed.
    pub(super) fn server_ends(&mut self, server: usize) {
        let open: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, open)| open.server == server)
            .map(|(number, _)| *number)
            .collect();
        let segment = if self.servers[server].choices.one_in(2) { Segment::Fin } else { Segment::Reset };
        for number in open {
            self.server_sends(number, segment.clone());
        }
    }
}

fn plan_name(plan: Plan) -> &'static str {
    match plan {
        Plan::Right => "server: right",
        Plan::Split => "server: in two pieces",
        Plan::Unterminated => "server: unterminated",
        Plan::Closes => "server: closes after the reply",
        Plan::ResetsAfter => "server: resets after the reply",
        Plan::Surplus => "server: two replies",
        Plan::SurplusLater => "server: a second reply later",
        Plan::Wrong => "server: wrong",
        Plan::NearlyRight => "server: nearly right",
        Plan::Rejects => "server: rejects",
        Plan::Busy => "server: busy",
        Plan::ClosesUnanswered => "server: closes unanswered",
        Plan::Resets => "server: resets",
        Plan::Silent => "server: silent",
        Plan::Half => "server: half a reply",
        Plan::Late => "server: late",
        Plan::LeavesOpen => "server: does not close",
        Plan::ClosesIdle => "server: closes when idle",
    }
}
