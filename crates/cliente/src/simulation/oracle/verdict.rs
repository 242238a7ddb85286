//! What the outcome of a round must be, given what the network did.

use std::io::ErrorKind;

use super::super::servers::reply_to;
use super::super::sockets::Segment;
use super::super::world::{MILLISECOND, SECOND};
use super::facts::{Connection, Facts};
use super::stalls::{Disturbed, Phase, Stalls};
use super::{Options, Round};

/// How long a server may take to close after the client: it is no part of README, and no failure.
const CLOSING: u64 = SECOND;
/// How long an IPv4 address waits for the answer about IPv6.
const FAMILIES_APART: u64 = 50 * MILLISECOND;

/// What the contract says about a round at some time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    UnderWay,
    /// It may be over, with this result.
    MayEnd(Ending),
    /// It is over now.
    Ends(Ending),
    Broken(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// `right`, or the reason of a failure.
    pub(super) result: &'static str,
    pub(super) disturbed: Disturbed,
    /// The time to connect, if the round made a connection.
    pub(super) connect: Option<u64>,
    pub(super) round_trip: Option<u64>,
}

/// How a reply ends: when, with which result, and whether the server ended the connection with it.
struct Reply {
    at: u64,
    result: &'static str,
    has_ended: bool,
    /// How many segments were read.
    read: usize,
}

/// A round, and all that it depends on.
pub(super) struct Case<'c> {
    pub(super) round: &'c Round,
    pub(super) facts: &'c Facts,
    pub(super) stalls: &'c Stalls,
    pub(super) is_name: bool,
    pub(super) now: u64,
    /// Whether a further round begins now, so that attempts of this time are not of this round.
    pub(super) is_followed: bool,
}

impl Case<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let begun = self.round.begun;
        let is_mine = |at: u64| at >= begun && !(self.is_followed && at == self.now && begun < self.now);
        let asks = |connection: &&Connection| connection.sent.iter().any(|(at, _)| is_mine(*at));
        if let Some(connection) = self.facts.connections.iter().find(asks) {
            return self.exchange(connection);
        }
        let is_kept = |connection: &&Connection| {
            connection.begun < begun && connection.closed.is_none_or(|at| at >= begun)
        };
        let kept = self.facts.connections.iter().find(is_kept);
        let surplus = kept.filter(|kept| kept.arrived.iter().any(|(at, _)| *at <= begun)).filter(|kept| {
            matches!(kept.arrived.first(), Some((_, Segment::Data(_)))) && self.round.options.keep
        });
        if surplus.is_some() && self.round.may_reuse {
            return self.ends(begun, "wrong_reply", &[], None, None);
        }
        let attempts: Vec<&Connection> =
            self.facts.connections.iter().filter(|connection| is_mine(connection.begun)).collect();
        if attempts.is_empty() { self.resolve() } else { self.connect(&attempts) }
    }

    fn options(&self) -> &Options {
        &self.round.options
    }

    /// No address has been tried yet.
    fn resolve(&self) -> Verdict {
        let begun = self.round.begun;
        if !self.is_name {
            return Verdict::Broken("an address was not tried at once".to_owned());
        }
        let limit = self.options().connect_timeout;
        let deadline = self.stalls.timer(begun + limit);
        let phase = Phase { from: begun, to: self.now, limit };
        if self.now >= deadline {
            return self.ends(deadline, "resolve", &[phase], None, None);
        }
        let told = || self.facts.told.iter().filter(|(at, ..)| *at >= begun);
        let useful = told().find(|(_, is_ipv4, found)| self.options().is_useful(*is_ipv4, found));
        if let Some((at, ..)) = useful
            && self.now > self.stalls.timer(self.stalls.seen(*at) + FAMILIES_APART)
        {
            return Verdict::Broken("an address that is known is not tried".to_owned());
        }
        if useful.is_none() && told().any(|(at, ..)| self.stalls.seen(*at) == self.now) {
            return self.may_end("resolve", &[phase]);
        }
        Verdict::UnderWay
    }

    /// No request has been sent yet.
    fn connect(&self, attempts: &[&Connection]) -> Verdict {
        if let Some(problem) = self.wrong_attempt(attempts) {
            return Verdict::Broken(problem);
        }
        let from = attempts[0].begun;
        let limit = self.options().connect_timeout;
        let deadline = self.stalls.timer(from + limit);
        let results =
            || attempts.iter().filter_map(|attempt| attempt.result).filter(|(at, _)| *at <= deadline);
        if results().any(|(_, result)| result.is_ok()) {
            return Verdict::Broken("a connection was made, and no request was sent".to_owned());
        }
        let phases = [Phase { from: self.round.begun, to: from, limit }, Phase { from, to: self.now, limit }];
        // No stall explains that everybody refuses.
        let are_all_refused =
            results().filter(|(_, result)| *result == Err(ErrorKind::ConnectionRefused)).count()
                == attempts.len();
        let phases = if are_all_refused { &[][..] } else { &phases[..] };
        let reason = results().filter_map(|(_, result)| result.err()).map(reason_of);
        let are_all_over = results().count() == attempts.len();
        let unanswered = (!are_all_over).then_some("connect_timeout");
        let reason = reason.chain(unanswered).min_by_key(|reason| rank(reason)).expect("an attempt");
        if self.now >= deadline {
            return self.ends(deadline, reason, phases, None, None);
        }
        if !are_all_over {
            return Verdict::UnderWay;
        }
        let last = results().map(|(at, _)| self.stalls.seen(at)).max().expect("an attempt");
        if !self.is_name {
            return self.ends(last, reason, phases, None, None);
        }
        // Further addresses may be known or asked for.
        let told = self.facts.told.iter().map(|(at, ..)| *at).max().unwrap_or_default();
        if last.max(told) < self.now { Verdict::UnderWay } else { self.may_end(reason, phases) }
    }

    /// An attempt that must not have been made.
    fn wrong_attempt(&self, attempts: &[&Connection]) -> Option<String> {
        let begun = self.round.begun;
        if !self.is_name {
            let is_right = attempts.len() == 1 && attempts[0].begun == begun;
            return (!is_right).then(|| "an address is tried once, at once".to_owned());
        }
        let has_asked = self.facts.asked.iter().any(|(at, _)| *at >= begun);
        if self.facts.must_ask && !has_asked {
            return Some("a failed round asks for the name anew".to_owned());
        }
        attempts.iter().find_map(|attempt| {
            let address = self.round.addresses[attempt.server];
            let is_known = self.facts.known.iter().any(|(ip, until)| *ip == address && *until >= begun);
            let is_told = self.facts.told.iter().any(|(at, is_ipv4, found)| {
                *at >= begun && self.options().is_useful(*is_ipv4, found) && found.has(address)
            });
            (!is_known && !is_told)
                .then(|| format!("{address} is tried, and nobody has said so, or long ago"))
        })
    }

    /// A request has been sent.
    fn exchange(&self, connection: &Connection) -> Verdict {
        let begun = self.round.begun;
        let is_reused = connection.begun < begun;
        let Some((sent, request)) = connection.sent.iter().find(|(at, _)| *at >= begun) else {
            return Verdict::Broken("nothing was sent".to_owned());
        };
        let Some(number) = number_in(request) else {
            return Verdict::Broken(format!("a strange request: {}", request.escape_ascii()));
        };
        let mut phases = Vec::new();
        let mut connect = None;
        if is_reused {
            if *sent != begun || !self.round.may_reuse || !self.options().keep {
                return Verdict::Broken("an old connection was used".to_owned());
            }
            if connection.arrived.first().is_some_and(|(at, _)| *at <= begun) {
                return Verdict::Broken("a connection was used that the server had ended".to_owned());
            }
        } else {
            if self.round.must_reuse {
                return Verdict::Broken("the kept connection was not used".to_owned());
            }
            let attempts: Vec<&Connection> = self
                .facts
                .connections
                .iter()
                .filter(|attempt| (begun..=*sent).contains(&attempt.begun))
                .collect();
            if let Some(problem) = self.wrong_attempt(&attempts) {
                return Verdict::Broken(problem);
            }
            let (from, limit) = (attempts[0].begun, self.options().connect_timeout);
            let made = connection.result.map_or(u64::MAX, |(at, _)| self.stalls.seen(at));
            if made != *sent || made > self.stalls.timer(from + limit) {
                return Verdict::Broken("a request was not sent as soon as a connection was made".to_owned());
            }
            phases.push(Phase { from: begun, to: from, limit });
            phases.push(Phase { from, to: made, limit });
            connect = Some(made - from);
        }
        let limit = self.options().reply_timeout;
        let deadline = self.stalls.timer(sent + limit);
        let reply = self.reply(connection, *sent, deadline, &number);
        let Some(reply) = reply else {
            if self.now < deadline {
                return Verdict::UnderWay;
            }
            phases.push(Phase { from: *sent, to: deadline, limit });
            return self.ends(deadline, "reply_timeout", &phases, connect, None);
        };
        phases.push(Phase { from: *sent, to: reply.at, limit });
        if reply.result != "right" {
            return self.ends(reply.at, reply.result, &phases, connect, None);
        }
        let round_trip = Some(reply.at - sent);
        if reply.has_ended || self.options().keep {
            return self.ends(reply.at, "right", &phases, connect, round_trip);
        }
        let (at, result) = self.closing(connection, &reply);
        if self.now < at {
            return Verdict::UnderWay;
        }
        let round_trip = round_trip.filter(|_| result == "right");
        self.ends(at, result, &phases, connect, round_trip)
    }

    /// The reply to `number`, as far as it has come until the deadline.
    fn reply(&self, connection: &Connection, sent: u64, deadline: u64, number: &[u8]) -> Option<Reply> {
        let expected = reply_to(number);
        let mut received = Vec::new();
        let mut read = 0;
        while let Some((at, _)) = connection.arrived.get(read).filter(|(at, _)| *at <= deadline) {
            let at = self.stalls.seen(*at).max(sent);
            // All that is there by then is read at once.
            let mut end = None;
            while let Some((next, segment)) = connection.arrived.get(read)
                && self.stalls.seen(*next) <= at
                && end.is_none()
            {
                match segment {
                    Segment::Data(bytes) => received.extend(bytes),
                    other => end = Some(other),
                }
                read += usize::from(end.is_none());
            }
            let decided = |result, has_ended| Some(Reply { at, result, has_ended, read });
            if let Some(result) = judge(&received, &expected, false) {
                return decided(result, false);
            }
            match end {
                Some(Segment::Fin) => {
                    return decided(judge(&received, &expected, true).unwrap_or("wrong_reply"), true);
                }
                Some(_) => return decided("reset", true),
                None => {}
            }
        }
        None
    }

    /// When and how a round ends whose reply was right: it waits for the server's FIN.
    fn closing(&self, connection: &Connection, reply: &Reply) -> (u64, &'static str) {
        let deadline = self.stalls.timer(reply.at + CLOSING);
        let next = connection.arrived.get(reply.read).filter(|(at, _)| *at <= deadline);
        match next {
            Some((at, Segment::Data(_))) => (self.stalls.seen(*at).max(reply.at), "wrong_reply"),
            Some((at, _)) => (self.stalls.seen(*at).max(reply.at), "right"),
            None => (deadline, "right"),
        }
    }

    /// The round may end now.
    fn may_end(&self, result: &'static str, phases: &[Phase]) -> Verdict {
        match self.ends(self.now, result, phases, None, None) {
            Verdict::Ends(ending) => Verdict::MayEnd(ending),
            other => other,
        }
    }

    fn ends(
        &self,
        at: u64,
        result: &'static str,
        phases: &[Phase],
        connect: Option<u64>,
        round_trip: Option<u64>,
    ) -> Verdict {
        if self.now > at {
            return Verdict::Broken(format!("it should have ended at {at}: {result}"));
        }
        let threshold = self.options().stall_threshold;
        let disturbed = phases.iter().map(|phase| self.stalls.disturbed(*phase, threshold)).max();
        // No stall explains these.
        let is_certain = matches!(result, "wrong_reply" | "server_error");
        let disturbed = disturbed.filter(|_| !is_certain).unwrap_or(Disturbed::No);
        Verdict::Ends(Ending { result, disturbed, connect, round_trip })
    }
}

/// What README calls the bytes of a reply, or `None` if more may come.
fn judge(received: &[u8], expected: &[u8], has_ended: bool) -> Option<&'static str> {
    const ERROR: &[u8] = b"ERRO ";
    let end = received.iter().position(|byte| *byte == b'\n');
    let is_complete = end.is_some() || has_ended;
    let line = &received[..end.unwrap_or(received.len())];
    if !is_complete {
        let may_be = expected.starts_with(line) || ERROR.starts_with(line) || line.starts_with(ERROR);
        return (!may_be).then_some("wrong_reply");
    }
    let has_surplus = end.is_some_and(|end| received.len() > end + 1);
    Some(match line {
        [] if end.is_none() => "closed",
        _ if line.starts_with(ERROR) => "server_error",
        _ if line == expected && !has_surplus => "right",
        _ => "wrong_reply",
    })
}

/// The digits of a request: 1 to 30 of them, without needless zeros, and LF.
fn number_in(request: &[u8]) -> Option<Vec<u8>> {
    let digits = request.strip_suffix(b"\n")?;
    let is_number = (1..=30).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let is_shortest = digits.len() == 1 || digits.first() != Some(&b'0');
    (is_number && is_shortest).then(|| digits.to_vec())
}

fn reason_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        _ => "other",
    }
}

/// A refusal says more than silence, and silence more than a missing route.
fn rank(reason: &str) -> usize {
    ["refused", "connect_timeout", "unreachable", "other"]
        .iter()
        .position(|other| *other == reason)
        .unwrap_or(9)
}
