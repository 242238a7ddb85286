//! The operator: reloads, the stop, and what `main` does with a drain that takes too long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::oracle::Rules;
use super::scenario::Scenario;
use super::trace::trace;
use super::world::World;
use crate::observe::totals::Totals;
use crate::resolve::Family;
use crate::settings::{Connection, Own, Settings};
use daemon::settings::Value;

/// What an operator does, and the end of the time for a drain.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Reload(Rules),
    Stop,
    Cut,
}

/// The operator's side of a client.
pub(super) struct Operator {
    pub(super) settings: watch::Sender<Arc<Settings>>,
    pub(super) stop: CancellationToken,
    pub(super) cut: CancellationToken,
    pub(super) totals: Arc<Totals>,
    /// The texts of all targets.
    pub(super) targets: Vec<String>,
}

fn value<T: Value>(text: &str) -> T {
    T::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn duration<T: Value>(nanoseconds: u64) -> T {
    value(&humantime::format_duration(Duration::from_nanos(nanoseconds)).to_string())
}

/// Settings of `base` changed as `rules` say.
pub(super) fn settings(base: &Settings, rules: &Rules, targets: &[String], drain_timeout: u64) -> Settings {
    let mut settings = base.clone();
    let texts: Vec<&str> = rules.targets.iter().map(|target| targets[*target].as_str()).collect();
    let options = rules.options;
    settings.own = Own {
        target: value(&texts.join(",")),
        interval: duration(rules.interval),
        connection: if options.keep { Connection::Kept } else { Connection::Fresh },
        address_family: if options.is_ipv4_only { Family::Ipv4 } else { Family::Any },
        resolve_max_age: duration(options.max_age),
        connect_timeout: duration(options.connect_timeout),
        reply_timeout: duration(options.reply_timeout),
        stall_threshold: duration(options.stall_threshold),
        drain_timeout: duration(drain_timeout),
        ..settings.own
    };
    settings
}

impl Operator {
    /// Does what is due. How many rounds are cut short is remembered in the world.
    pub(super) fn act(&self, action: Action, world: &mut World, scenario: &Scenario) {
        let now = world.now;
        trace!(world, "operator: {action:?}");
        match action {
            Action::Reload(rules) => {
                world.coverage.count("operator: reload");
                let changed =
                    settings(&self.settings.borrow(), &rules, &self.targets, scenario.drain_timeout);
                self.settings.send_replace(Arc::new(changed));
                world.oracle.reloaded(rules);
            }
            Action::Stop => {
                world.coverage.count("operator: stop");
                self.stop.cancel();
                world.oracle.stopped(now);
                world.schedule(now + scenario.drain_timeout, super::world::Event::Operator(Action::Cut));
            }
            Action::Cut => {
                world.coverage.count("operator: cut");
                world.forced = Some(self.totals.under_way());
                self.cut.cancel();
            }
        }
    }
}
