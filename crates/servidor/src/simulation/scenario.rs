//! The parameters of a run: settings, listeners, faults and their times. They are all chosen before it begins.

use std::sync::Arc;

use daemon::settings::{Value, start};

use super::choices::Choices;
use super::faults::{Countdown, Fault, Faults, OF_ONE_CONNECTION, OF_THE_HOST};
use super::oracle::Rules;
use super::world::{MICROSECOND, MILLISECOND, SECOND};
use crate::settings::{Overload, Own, PROGRAM, Settings};

/// See the module.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) theme: Theme,
    pub(super) loops: usize,
    pub(super) rules: Rules,
    /// The listeners: the limit of the queue, and whether another process holds it too.
    pub(super) listeners: Vec<(usize, bool)>,
    pub(super) reloads: Vec<(u64, Rules)>,
    pub(super) stop_at: u64,
    /// Peers connect until then.
    pub(super) busy_until: u64,
    /// One in so many peers is of a network that is not allowed unless all are.
    pub(super) strangers: u64,
    pub(super) cost: u64,
    pub(super) batch: usize,
}

/// The focus of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// A bit of everything.
    Mixed,
    /// Few permits for many peers.
    Crowded,
    /// The same, but connections beyond the limit are refused.
    Refusing,
    /// Many peers that read slowly or not at all.
    Stalling,
    /// Many sockets that linger.
    Lingering,
    /// accept fails most of the time.
    Failing,
    /// Few peers, whose every step is chosen: for fuzzers, not for seeds.
    Few,
}

const THEMES: [Theme; 8] = [
    Theme::Mixed,
    Theme::Mixed,
    Theme::Mixed,
    Theme::Crowded,
    Theme::Refusing,
    Theme::Stalling,
    Theme::Lingering,
    Theme::Failing,
];

impl Scenario {
    pub(super) fn choose(choices: &mut Choices) -> Self {
        let theme = *choices.pick(&THEMES);
        Self::of(theme, choices)
    }

    pub(super) fn of(theme: Theme, choices: &mut Choices) -> Self {
        let rules = rules(choices, theme);
        let busy_until = choices.magnitude(100 * MILLISECOND, 8 * SECOND);
        let stop_at = busy_until / 4 + choices.below(2 * busy_until);
        let reloads =
            (0..choices.below(3)).map(|_| (choices.below(stop_at), changed(choices, &rules))).collect();
        let listeners = (0..choices.size(1, 2)).map(|_| {
            let backlog = if choices.one_in(3) { choices.size(1, 16) } else { 1024 };
            (backlog, choices.one_in(4))
        });
        let listeners = listeners.collect();
        Self {
            theme,
            loops: match theme {
                Theme::Stalling => 4,
                Theme::Few => choices.size(1, 2),
                _ => choices.size(2, 4),
            },
            rules,
            listeners,
            reloads,
            stop_at,
            busy_until,
            strangers: if theme == Theme::Crowded { 2 } else { 8 },
            cost: choices.magnitude(200, 20 * MICROSECOND),
            batch: *choices.pick(&[256, 256, 1, 2, 7, 32]),
        }
    }

    pub(super) fn faults(&self, choices: &mut Choices) -> Faults {
        let mut rate = |mean: u64| match choices.below(3) {
            0 => 0,
            1 => mean,
            _ => mean * 8,
        };
        let means = [
            rate(20),
            rate(20),
            rate(20),
            rate(2000),
            rate(30),
            rate(300),
            rate(200),
            rate(20),
            if self.theme == Theme::Failing { 2 } else { rate(20) },
        ];
        let [
            interrupts,
            short_transfers,
            spurious,
            stalls,
            preemptions,
            suspensions,
            watch_failures,
            listener_watch_failures,
            dead_in_queue,
        ] = means.map(|mean| Countdown::new(mean, choices));
        let longest_stall = *choices.pick(&[50 * MILLISECOND, 2 * SECOND, 120 * SECOND, 3600 * SECOND]);
        let shuffles = choices.one_in(2);
        Faults {
            interrupts,
            short_transfers,
            spurious,
            stalls,
            preemptions,
            suspensions,
            watch_failures,
            listener_watch_failures,
            dead_in_queue,
            longest_stall,
            shuffles,
            descriptors: usize::MAX,
            failing: vec![None; self.listeners.len()],
            ..Faults::default()
        }
    }

    /// Faults that begin and end at given times.
    pub(super) fn schedule(&self, choices: &mut Choices) -> Vec<(u64, Fault)> {
        let mut schedule = Vec::new();
        let windows = if self.theme == Theme::Failing { choices.below(12) } else { choices.below(3) };
        for _ in 0..windows {
            let begins = choices.below(self.stop_at + SECOND);
            let ends = begins + choices.magnitude(MILLISECOND, 2 * SECOND);
            if choices.one_in(3) {
                let descriptors = self.listeners.len() + choices.size(0, 12);
                schedule.push((begins, Fault::Descriptors(descriptors)));
                schedule.push((ends, Fault::Descriptors(usize::MAX)));
            } else {
                let listener = choices.index(self.listeners.len());
                let errors: &[_] = if choices.one_in(2) { &OF_ONE_CONNECTION } else { &OF_THE_HOST };
                let errno = *choices.pick(errors);
                schedule.push((begins, Fault::Failing(listener, Some(errno))));
                schedule.push((ends, Fault::Failing(listener, None)));
            }
        }
        if choices.one_in(4) {
            // A lack of descriptors while the queue is drained.
            let descriptors = self.listeners.len() + choices.size(0, 6);
            schedule.push((self.stop_at.saturating_sub(MILLISECOND), Fault::Descriptors(descriptors)));
            let ends = self.stop_at + choices.magnitude(MILLISECOND, SECOND);
            schedule.push((ends, Fault::Descriptors(usize::MAX)));
        }
        if choices.one_in(20) {
            let listener = choices.index(self.listeners.len());
            schedule.push((choices.below(self.stop_at + SECOND), Fault::ListenerDies(listener)));
        }
        schedule
    }
}

fn rules(choices: &mut Choices, theme: Theme) -> Rules {
    let max_connections = match theme {
        Theme::Mixed => choices.size(1, 64),
        Theme::Crowded | Theme::Refusing => choices.size(1, 4),
        Theme::Few => choices.size(1, 3),
        Theme::Stalling => choices.size(150, 400),
        Theme::Lingering => choices.size(20, 400),
        Theme::Failing => choices.size(1, 32),
    };
    let refuses = match theme {
        Theme::Refusing => true,
        Theme::Crowded => false,
        _ => choices.one_in(3),
    };
    let line_timeout = choices.magnitude(20 * MILLISECOND, 5 * SECOND);
    let unterminated_wait = choices.magnitude(MILLISECOND, 400 * MILLISECOND).min(line_timeout);
    Rules {
        max_connections,
        refuses,
        allows_guests: choices.one_in(2),
        allows_all: choices.one_in(8),
        unterminated_wait,
        idle_timeout: choices.magnitude(20 * MILLISECOND, 60 * SECOND),
        line_timeout,
        write_timeout: choices
            .magnitude(if theme == Theme::Stalling { SECOND } else { 20 * MILLISECOND }, 10 * SECOND),
        drain_timeout: choices.magnitude(50 * MILLISECOND, 10 * SECOND),
    }
    .in_milliseconds()
}

/// What a reload may change.
fn changed(choices: &mut Choices, rules: &Rules) -> Rules {
    let other = self::rules(choices, Theme::Mixed);
    let mut changed = rules.clone();
    if choices.one_in(2) {
        changed.idle_timeout = other.idle_timeout;
        changed.line_timeout = other.line_timeout;
        changed.unterminated_wait = other.unterminated_wait;
        changed.write_timeout = other.write_timeout;
    }
    if choices.one_in(2) {
        changed.allows_guests = !rules.allows_guests;
    }
    if choices.one_in(8) {
        changed.allows_all = !rules.allows_all;
    }
    if choices.one_in(3) {
        changed.max_connections = other.max_connections;
    }
    if choices.one_in(3) {
        changed.refuses = !rules.refuses;
    }
    changed
}

impl Rules {
    /// Settings have no finer grain than this.
    fn in_milliseconds(mut self) -> Self {
        let times = [
            &mut self.unterminated_wait,
            &mut self.idle_timeout,
            &mut self.line_timeout,
            &mut self.write_timeout,
            &mut self.drain_timeout,
        ];
        for time in times {
            *time = *time / MILLISECOND * MILLISECOND;
        }
        self
    }

    /// The same, as settings of the server.
    pub(super) fn own(&self, base: &Own) -> Arc<Own> {
        let allow = match (self.allows_all, self.allows_guests) {
            (true, _) => "0.0.0.0/0,::/0",
            (false, true) => "127.0.0.0/8,::1,192.0.2.0/24",
            (false, false) => "127.0.0.0/8,::1",
        };
        Arc::new(Own {
            allow: value(allow),
            max_connections: value(&self.max_connections.to_string()),
            overload: if self.refuses { Overload::Refuse } else { Overload::Wait },
            unterminated_wait: period(self.unterminated_wait),
            idle_timeout: period(self.idle_timeout),
            line_timeout: period(self.line_timeout),
            write_timeout: period(self.write_timeout),
            drain_timeout: period(self.drain_timeout),
            ..base.clone()
        })
    }
}

fn period<T: Value>(time: u64) -> T {
    value(&format!("{}ms", time / MILLISECOND))
}

pub(super) fn value<T: Value>(text: &str) -> T {
    T::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

/// The default settings of a server.
pub(super) fn defaults() -> Settings {
    start::<Own>(&PROGRAM, ["servidor".into()]).expect("the defaults are right").settings
}
