//! One target's rounds, for as long as it is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::books::{Books, Event};
use crate::draw::draw;
use crate::round::Link;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::target::Target;
use crate::totals::Totals;

/// What all probes have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// Cancelled when no round is to begin any more.
    pub(crate) stop: CancellationToken,
    pub(crate) totals: Arc<Totals>,
    /// Cancelled when the first round of all begins.
    pub(crate) started: CancellationToken,
    /// Where a report is made, if there is one.
    pub(crate) events_to: Option<mpsc::UnboundedSender<(Target, Event)>>,
    /// How many rounds each probe makes; no end of them if there is no number.
    pub(crate) count: Option<u64>,
}

/// Asks `target` until its `dismissal`, or as often as there is to ask; neither cuts a round short.
pub(crate) async fn probe(target: Target, mut shared: Shared, dismissal: CancellationToken) {
    let mut link = Link::new(target.clone());
    let books = Books::open(target, &shared);
    let mut left = shared.count;
    let mut interval = shared.settings.borrow_and_update().own.interval.get();
    let mut schedule = Schedule::new(Instant::now(), interval);
    while left != Some(0) {
        let tick = select! {
            biased;
            () = dismissal.cancelled() => break,
            Some(other) = another_interval(&mut shared.settings, interval) => {
                interval = other;
                schedule = Schedule::new(Instant::now(), interval);
                continue;
            }
            tick = schedule.tick() => tick,
        };
        books.skipped(tick.skipped);
        let under_way = books.begun(tick);
        let terms = shared.settings.borrow().own.terms();
        let number = draw(&mut rand::rng());
        let (outcome, skipped) = schedule.during(link.round(number, terms)).await;
        books.finished(under_way, number, outcome);
        books.skipped(skipped);
        left = left.map(|left| left - 1);
    }
    if dismissal.is_cancelled() && !shared.stop.is_cancelled() {
        books.close();
    }
}

/// Waits for settings with another interval. There will be none if nobody is left to change them.
async fn another_interval(
    settings: &mut watch::Receiver<Arc<Settings>>,
    interval: Duration,
) -> Option<Duration> {
    let changed = settings.wait_for(|settings| settings.own.interval.get() != interval).await;
    changed.ok().map(|settings| settings.own.interval.get())
}
