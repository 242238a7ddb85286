//! What the client must do, written from README and apart from the client.
//!
//! It is told what the network does and what the client calls, and whenever the client waits it compares what the client has counted
//! with what must have been counted by then.

mod facts;
pub(crate) mod reading;
mod scrape;
mod stalls;
mod target;
mod ticks;
mod verdict;

use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use self::reading::Reading;
use self::stalls::Stalls;
use self::target::{Look, Watched};
use super::coverage::Coverage;
use super::names::Found;
use super::sockets::Segment;
use super::trace::Time;

/// The settings that the contract is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// The numbers of those that are probed.
    pub(super) targets: Vec<usize>,
    pub(super) interval: u64,
    pub(super) options: Options,
}

/// How a round is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) connect_timeout: u64,
    pub(super) reply_timeout: u64,
    pub(super) stall_threshold: u64,
    pub(super) max_age: u64,
    pub(super) keep: bool,
    /// Whether only addresses of IPv4 are used.
    pub(super) is_ipv4_only: bool,
}

impl Options {
    /// Whether an answer has addresses that are used.
    fn is_useful(&self, is_ipv4: bool, found: &Found) -> bool {
        let fits = is_ipv4 || !self.is_ipv4_only;
        fits && matches!(found, Found::Addresses(addresses, _) if !addresses.is_empty())
    }

    /// Whether a connection that was made under `self` may be used under `other`.
    fn is_same_connection(&self, other: &Self) -> bool {
        self.keep && other.keep && self.is_ipv4_only == other.is_ipv4_only
    }
}

/// A round under way.
#[derive(Debug)]
struct Round {
    begun: u64,
    options: Options,
    /// The addresses of all servers.
    addresses: Arc<[IpAddr]>,
    may_reuse: bool,
    must_reuse: bool,
}

/// What is known of the run besides the targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'w> {
    /// Rounds, right, failed, disturbed and skipped.
    pub(super) totals: [u64; 5],
    pub(super) under_way: u64,
    pub(super) tasks: usize,
    pub(super) sockets: usize,
    /// Of each target.
    pub(super) readings: &'w [Reading],
}

#[derive(Debug)]
pub(super) struct Oracle {
    violation: Option<String>,
    /// Which target each server belongs to; control rounds' belongs to none.
    owners: Vec<Option<usize>>,
    addresses: Arc<[IpAddr]>,
    targets: Vec<Watched>,
    rules: Rules,
    /// Settings that the client has yet to see.
    next_rules: Option<Rules>,
    stalls: Stalls,
    epoch: i128,
    stopped: Option<u64>,
    has_ended: bool,
    /// Beginnings and endings of rounds, for the trace.
    notes: Vec<String>,
}

impl Oracle {
    /// `targets` are their texts, and whether they are names; `servers` are addresses and which target each belongs to.
    pub(super) fn new(
        targets: Vec<(String, bool)>,
        servers: &[(IpAddr, Option<usize>)],
        rules: Rules,
        count: Option<u64>,
    ) -> Self {
        let phases = rules.targets.iter().map(|target| ticks::phase(&targets[*target].0, rules.interval));
        let epoch = -i128::from(phases.min().unwrap_or_default());
        let watched = |(text, is_name)| Watched::new(text, is_name, count);
        let targets: Vec<Watched> = targets.into_iter().map(watched).collect();
        Self {
            violation: None,
            owners: servers.iter().map(|(_, owner)| *owner).collect(),
            addresses: servers.iter().map(|(address, _)| *address).collect(),
            targets,
            next_rules: Some(rules.clone()),
            rules,
            stalls: Stalls::default(),
            epoch,
            stopped: None,
            has_ended: false,
            notes: Vec::new(),
        }
    }

    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// The first violation counts.
    pub(super) fn fail(&mut self, now: u64, problem: fmt::Arguments<'_>) {
        if !self.has_ended {
            self.violation.get_or_insert_with(|| format!("{}: {problem}", Time(now)));
        }
    }

    fn of(&mut self, server: usize) -> Option<&mut Watched> {
        self.owners[server].map(|target| &mut self.targets[target])
    }

    pub(super) fn attempt(&mut self, now: u64, server: usize, number: u64) {
        if let Some(target) = self.of(server) {
            target.facts.attempt(now, server, number);
        }
    }

    pub(super) fn attempted(&mut self, now: u64, server: usize, number: u64, result: Result<(), ErrorKind>) {
        if let Some(connection) = self.of(server).and_then(|target| target.facts.of(number)) {
            connection.result = Some((now, result));
        }
    }

    pub(super) fn arrived(&mut self, now: u64, server: usize, number: u64, segment: Segment) {
        if let Some(connection) = self.of(server).and_then(|target| target.facts.of(number)) {
            connection.arrived.push((now, segment));
        }
    }

    pub(super) fn sent(&mut self, now: u64, server: usize, number: u64, segment: &Segment) {
        if let Segment::Data(bytes) = segment
            && let Some(connection) = self.of(server).and_then(|target| target.facts.of(number))
        {
            connection.sent.push((now, bytes.clone()));
        }
    }

    pub(super) fn closed(&mut self, now: u64, server: usize, number: u64) {
        if let Some(connection) = self.of(server).and_then(|target| target.facts.of(number)) {
            connection.closed = Some(now);
        }
    }

    fn named(&mut self, name: &str) -> Option<&mut Watched> {
        self.targets.iter_mut().find(|target| target.is_name && target.text.starts_with(name))
    }

    pub(super) fn asked(&mut self, now: u64, name: &str, socket: u64) {
        if let Some(target) = self.named(name) {
            target.facts.asked.push((now, socket));
        }
    }

    pub(super) fn told(&mut self, now: u64, (name, socket): (&str, u64), is_ipv4: bool, found: Found) {
        let seen = self.stalls.seen(now);
        let max_age = self.rules.options.max_age;
        if let Some(target) = self.named(name) {
            let of_round = target.round.as_ref().map_or(0, |round| round.options.max_age);
            let max_age = max_age.max(of_round);
            // A kept connection's name is looked up between rounds.
            let asked = target.facts.asked.iter().find(|(_, other)| *other == socket).map(|(at, _)| *at);
            let is_of_round =
                target.round.as_ref().zip(asked).is_some_and(|(round, asked)| asked >= round.begun);
            target.facts.told(seen, is_ipv4, found, max_age, is_of_round);
        }
    }

    /// The client does not run, or is busy, from `from` to `to`.
    pub(super) fn stalled(&mut self, from: u64, to: u64, is_busy: bool) {
        self.stalls.add(from, to, is_busy);
    }

    pub(super) fn reloaded(&mut self, rules: Rules) {
        self.next_rules = Some(rules);
    }

    pub(super) fn stopped(&mut self, now: u64) {
        self.stopped.get_or_insert(now);
    }

    /// Nothing after this counts.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The client waits: what it has counted is compared with the contract.
    pub(super) fn look(&mut self, now: u64, whole: Whole<'_>, coverage: &mut Coverage) {
        if self.violation.is_some() || self.has_ended {
            return;
        }
        if let Some(rules) = self.next_rules.take() {
            self.rules = rules;
        }
        for (number, target) in self.targets.iter_mut().enumerate() {
            let look = Look {
                now,
                epoch: self.epoch,
                stalls: &self.stalls,
                rules: &self.rules,
                is_stopped: self.stopped.is_some(),
                reading: &whole.readings[number],
                addresses: &self.addresses,
            };
            let is_wanted = self.rules.targets.contains(&number);
            let before = (target.counted.rounds, target.counted.ended());
            if let Err(problem) = target.look(&look, is_wanted, coverage) {
                self.violation = Some(format!("{}: {}: {problem}", Time(now), target.text));
                return;
            }
            if before != (target.counted.rounds, target.counted.ended()) {
                self.notes.push(format!("{}: {:?}", target.text, target.counted));
            }
        }
        let oldest =
            self.targets.iter().filter_map(|target| target.round.as_ref()).map(|round| round.begun).min();
        self.stalls.forget_before(oldest.unwrap_or(now));
        self.check_whole(now, whole);
    }

    /// The sums over all targets, and what must stay small.
    fn check_whole(&mut self, now: u64, whole: Whole<'_>) {
        let mut sum = Reading::default();
        self.targets.iter().for_each(|target| sum.add(&target.counted));
        let expected = [sum.rounds, sum.right, sum.failed(), sum.disturbed, sum.skipped];
        if whole.totals != expected {
            self.fail(now, format_args!("totals: expected {expected:?}, counted {:?}", whole.totals));
        }
        let [rounds, right, failed, disturbed, _] = whole.totals;
        if rounds != right + failed + disturbed + whole.under_way {
            self.fail(
                now,
                format_args!("{:?} and {} under way do not add up", whole.totals, whole.under_way),
            );
        }
        // A target has a connection and the last one; a name two questions to each of two servers, sent three times at most.
        let most = 4 + self.targets.len() * 24;
        if whole.tasks > most || whole.sockets > most {
            self.fail(now, format_args!("{} tasks and {} sockets", whole.tasks, whole.sockets));
        }
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The rounds have ended.
    pub(super) fn check_end(&mut self, now: u64, forced: u64, was_cut: bool) {
        let under_way = self.targets.iter().filter(|target| target.round.is_some()).count() as u64;
        if under_way != forced {
            self.fail(now, format_args!("{under_way} rounds were cut short, and {forced} are told of"));
        }
        if !was_cut && under_way > 0 {
            self.fail(now, format_args!("it ended with rounds under way"));
        }
        if let Some(target) = self.targets.iter().find(|target| target.is_probed && target.round.is_none()) {
            let text = target.text.clone();
            self.fail(now, format_args!("it ended, and {text} is still to be probed"));
        }
    }
}
