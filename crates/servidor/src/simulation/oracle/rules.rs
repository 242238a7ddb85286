//! The settings and the stop, and what each event loop may know about them.

use std::net::IpAddr;

use crate::simulation::world::{MILLISECOND, SECOND};

/// Settings. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) max_connections: usize,
    pub(crate) refuses: bool,
    /// Whether 192.0.2.0/24 is in `allow`, in addition to loopback.
    pub(crate) allows_guests: bool,
    /// Whether `allow` has all networks.
    pub(crate) allows_all: bool,
    pub(crate) unterminated_wait: u64,
    pub(crate) idle_timeout: u64,
    pub(crate) line_timeout: u64,
    pub(crate) write_timeout: u64,
    pub(crate) drain_timeout: u64,
}

impl Rules {
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            _ if self.allows_all => true,
            IpAddr::V4(address) => {
                let [first, second, third, _] = address.octets();
                first == 127 || (self.allows_guests && [first, second, third] == [192, 0, 2])
            }
            IpAddr::V6(address) => address.is_loopback(),
        }
    }
}

/// A time between two known times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) earliest: u64,
    /// Unlimited until the turn that contains it has ended.
    pub(super) latest: u64,
}

impl Moment {
    /// Not before the event loop last read the clock.
    pub(super) const fn since(clock: u64) -> Self {
        Self { earliest: clock, latest: u64::MAX }
    }

    pub(super) fn turn_ends(&mut self, now: u64) {
        self.latest = self.latest.min(now);
    }
}

/// A stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) began: u64,
    pub(super) first_request: u64,
    pub(super) forced: u64,
    pub(super) ends: u64,
}

impl Stop {
    pub(super) fn new(began: u64, drain_timeout: u64) -> Self {
        let forced = began + drain_timeout / 10 * 9;
        Self { began, first_request: forced.min(began + SECOND), forced, ends: began + drain_timeout }
    }
}

/// For rounding nine tenths, and the times that event loops compare.
pub(super) const SLACK: u64 = 2 * MILLISECOND;

/// What an event loop may know.
pub(super) struct Knowledge {
    /// Settings that may be in force, the newest last, each with the time of its reload.
    rules: Vec<(u64, Rules)>,
    pub(super) stop: Option<Stop>,
    /// Whether it must know about the stop.
    pub(super) knows_stop: bool,
    /// The messages that were in its inbox when it acknowledged its last wake-up.
    acknowledged: Option<(usize, bool)>,
    /// When it last read the clock.
    pub(super) clock: u64,
    pub(super) turn_began: u64,
}

impl Knowledge {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules: vec![(0, rules)],
            stop: None,
            knows_stop: false,
            acknowledged: None,
            clock: 0,
            turn_began: 0,
        }
    }

    pub(super) fn reload(&mut self, now: u64, rules: &Rules) {
        self.rules.push((now, rules.clone()));
    }

    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = Some((self.rules.len(), self.stop.is_some()));
    }

    /// Whether it has received the stop, in this turn or before.
    pub(super) fn was_told_to_stop(&self) -> bool {
        self.knows_stop || self.acknowledged.is_some_and(|(_, stop)| stop)
    }

    pub(super) fn turn_ends(&mut self) {
        if let Some((rules, stop)) = self.acknowledged.take() {
            self.rules.drain(..rules - 1);
            self.knows_stop |= stop;
        }
    }

    pub(super) fn least(&self, value: impl Fn(&Rules) -> u64) -> u64 {
        self.possible().map(value).min().expect("some settings are in force")
    }

    pub(super) fn most(&self, value: impl Fn(&Rules) -> u64) -> u64 {
        self.possible().map(value).max().expect("some settings are in force")
    }

    pub(super) fn possible(&self) -> impl Iterator<Item = &Rules> {
        self.rules.iter().map(|(_, rules)| rules)
    }

    /// The settings in force once all messages have arrived.
    pub(super) fn newest(&self) -> &Rules {
        &self.rules.last().expect("some settings are in force").1
    }

    /// Since when settings may have excluded this address.
    pub(super) fn excluded_since(&self, address: IpAddr) -> Option<u64> {
        self.rules.iter().find(|(_, rules)| !rules.allows(address)).map(|(since, _)| *since)
    }
}
