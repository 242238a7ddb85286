//! What all connections share.

use std::sync::Arc;
use std::time::Duration;

use daemon::http::page::Sections;
use daemon::plural::Plural;
use daemon::supervisor::Supervised;
use protocol::Class;

use crate::limit::ConnectionLimit;
use crate::log::Log;
use crate::metrics::{CloseReason, Metrics};
use crate::page;
use crate::settings::{Own, Settings};

/// Shared by the event loops, all connections, and `main`.
#[derive(Debug)]
pub struct Context {
    /// Counts everything.
    pub metrics: Metrics,
    /// Logs the data path.
    pub(crate) log: Log,
    /// Limits the number of connections.
    pub limit: ConnectionLimit,
}

impl Context {
    /// A context with these settings.
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::new(settings.common.worker_threads.get()),
            log: Log::new(settings.common.log_events_per_second.get()),
            limit: ConnectionLimit::new(settings.own.max_connections.as_usize()),
        })
    }

    /// Logs the totals.
    pub fn log_stopped(&self) {
        let metrics = &self.metrics;
        tracing::info!(
            forced = metrics.closed(CloseReason::Forced) + self.limit.active() as u64,
            connections = metrics.connections(),
            large = metrics.numbers(Class::Large),
            even = metrics.numbers(Class::Even),
            odd = metrics.numbers(Class::Odd),
            rejected = metrics.rejected(),
            "stopped"
        );
    }
}

impl Supervised for Context {
    type Own = Own;

    fn status(&self) -> String {
        let metrics = &self.metrics;
        let [large, even, odd] = Class::ALL.map(|class| metrics.numbers(class));
        let active = self.limit.active();
        let connections = Plural(self.limit.limit() as u64, "connection");
        let numbers = Plural(large + even + odd, "number");
        format!("{active} of {connections}, {numbers} ({large} large, {even} even, {odd} odd)")
    }

    fn page(&self) -> Sections {
        page::of(&self.metrics, &self.limit).into()
    }

    fn report(&self, uptime: Duration) {
        let metrics = &self.metrics;
        tracing::info!(
            uptime_s = uptime.as_secs(),
            active = self.limit.active(),
            limit = self.limit.limit(),
            connections = metrics.connections(),
            large = metrics.numbers(Class::Large),
            even = metrics.numbers(Class::Even),
            odd = metrics.numbers(Class::Odd),
            rejected = metrics.rejected(),
            "state"
        );
    }

    fn refill_budgets(&self, per_second: u32) -> u64 {
        self.log.refill(per_second)
    }

    fn own_metrics(&self, text: &mut String) {
        text.push_str(&self.metrics.render(&self.limit));
    }
}

#[cfg(test)]
mod tests {
    use daemon::settings::start;

    use super::*;
    use crate::metrics::Tally;
    use crate::settings::PROGRAM;

    #[test]
    fn the_status_uses_the_singular_for_one() {
        let arguments = ["servidor", "--max-connections", "1"].map(Into::into);
        let context = Context::new(&start::<Own>(&PROGRAM, arguments).expect("settings in order").settings);
        assert_eq!(context.status(), "0 of 1 connection, 0 numbers (0 large, 0 even, 0 odd)");
        context.limit.acquire();
        context.metrics.of(0).batch_answered(&Tally { numbers: [0, 1, 0], ..Tally::default() });
        assert_eq!(context.status(), "1 of 1 connection, 1 number (0 large, 1 even, 0 odd)");
    }
}
