//! The rounds of one target, for as long as it is probed.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::draw::draw;
use crate::host::rng;
use crate::observe::report::Skip;
use crate::observe::{Observers, Recorder};
use crate::resolve::Resolver;
use crate::round::Session;
use crate::schedule::{Epoch, Schedule};
use crate::settings::Settings;
use crate::stall::StallMeter;

/// What all probes have in common.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// Cancelled when no round may begin any more.
    pub(crate) stop: CancellationToken,
    /// Where the phases of all schedules begin.
    pub(crate) epoch: Epoch,
    pub(crate) stalls: StallMeter,
    pub(crate) resolver: Resolver,
    pub(crate) observers: Observers,
    /// How many rounds each probe makes; `None` for no limit.
    pub(crate) count: Option<u64>,
}

/// Probes the target of `recorder` until `end` is cancelled, or until its last round. A round under way is finished. Ticks before
/// `since` are none of its own.
pub(crate) async fn probe(
    recorder: Arc<Recorder>,
    mut context: Context,
    end: CancellationToken,
    since: Instant,
) {
    let target = recorder.target();
    let schedule =
        |interval, since| Schedule::new(context.epoch.first_tick(target.as_str(), interval, since), interval);
    let mut interval = context.settings.borrow_and_update().own.interval.get();
    let mut schedule_now = schedule(interval, since);
    let mut session = Session::new(target.clone(), context.stalls.clone(), context.resolver.clone());
    let mut left = context.count;
    while left != Some(0) {
        let options = context.settings.borrow().own.round_options();
        let tick = select! {
            biased;
            () = end.cancelled() => break,
            Some(other) = another_interval(&mut context.settings, interval) => {
                interval = other;
                schedule_now = schedule(interval, Instant::now());
                continue;
            }
            tick = schedule_now.tick() => tick,
            () = session.follow(options) => continue,
        };
        recorder.skipped(tick.skipped, Skip::Late);
        let round = recorder.begun(tick);
        let options = context.settings.borrow().own.round_options();
        let number = draw(&mut rng());
        let (outcome, skipped) = schedule_now.during(session.round(number, options)).await;
        recorder.finished(&round, &number, &outcome);
        recorder.skipped(skipped, Skip::Busy);
        left = left.map(|left| left - 1);
    }
    if end.is_cancelled() && !context.stop.is_cancelled() {
        recorder.retired();
    }
}

/// Waits for settings with another interval. If the sender is gone, there will be none.
async fn another_interval(
    settings: &mut watch::Receiver<Arc<Settings>>,
    interval: Duration,
) -> Option<Duration> {
    let changed = settings.wait_for(|settings| settings.own.interval.get() != interval).await;
    changed.ok().map(|settings| settings.own.interval.get())
}
