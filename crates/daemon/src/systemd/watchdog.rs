//! The watchdog of systemd: sd_watchdog_enabled(3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Knows whether every heart beats, as long as which systemd's watchdog gets its pings.
#[derive(Clone, Debug)]
pub struct Watchdog {
    timeout: Option<Duration>,
    hearts: Arc<Mutex<Vec<Heart>>>,
}

#[derive(Debug)]
struct Heart {
    beats: Arc<AtomicU64>,
    seen: u64,
}

/// The proof that a task is still polled: a branch beside whatever the task waits for.
#[derive(Debug)]
pub struct Heartbeat {
    beats: Arc<AtomicU64>,
    interval: Option<Interval>,
}

/// The proof that a thread still goes its rounds; as a [`Heartbeat`], but for those who wait by themselves.
#[derive(Debug)]
pub struct Pulse {
    beats: Arc<AtomicU64>,
    period: Option<Duration>,
}

impl Watchdog {
    /// The watchdog that systemd asked for, if it did: `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout: timeout.filter(|timeout| !timeout.is_zero()), hearts: Arc::default() }
    }

    /// A heartbeat that must be polled from now on, until it is dropped.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { beats: self.heart(), interval: self.timeout.map(|timeout| ticks(timeout / 4)) }
    }

    /// A pulse that must beat from now on, until it is dropped.
    pub fn pulse(&self) -> Pulse {
        Pulse { beats: self.heart(), period: self.timeout.map(|timeout| timeout / 4) }
    }

    fn heart(&self) -> Arc<AtomicU64> {
        let beats = Arc::new(AtomicU64::new(0));
        if self.timeout.is_some() {
            self.hearts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Heart { beats: Arc::clone(&beats), seen: u64::MAX });
        }
        beats
    }

    /// Ticks at half the time-out; never where no watchdog is set.
    pub fn ticks(&self) -> Ticks {
        Ticks(self.timeout.map(|timeout| ticks(timeout / 2)))
    }

    /// Whether every heart has beaten since the last call.
    pub fn all_beat(&self) -> bool {
        let mut hearts = self.hearts.lock().unwrap_or_else(PoisonError::into_inner);
        // A task that ended took its heartbeat along: that it may end is for others to judge.
        hearts.retain(|heart| Arc::strong_count(&heart.beats) > 1);
        let mut all = true;
        for heart in hearts.iter_mut() {
            let beats = heart.beats.load(Ordering::Relaxed);
            all &= beats != heart.seen;
            heart.seen = beats;
        }
        all
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// See [`Watchdog::ticks`].
#[derive(Debug)]
pub struct Ticks(Option<Interval>);

impl Ticks {
    /// The next tick.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

impl Heartbeat {
    /// Resolves at every beat; never where no watchdog is set, so that it wakes nobody.
    pub async fn beat(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
                self.beats.fetch_add(1, Ordering::Relaxed);
            }
            None => std::future::pending().await,
        }
    }
}

impl Pulse {
    /// Beats.
    #[inline]
    pub fn beat(&self) {
        if self.period.is_some() {
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By when it must beat again if it does so at `now`; never where no watchdog is set.
    pub fn due_after(&self, now: Instant) -> Option<Instant> {
        self.period.map(|period| now + period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_heart_that_stops_stops_the_pings() {
        let watchdog = Watchdog::new(Some(Duration::from_secs(8)));
        let mut alive = watchdog.heartbeat();
        let mut stuck = watchdog.heartbeat();
        alive.beat().await;
        stuck.beat().await;
        assert!(watchdog.all_beat());
        alive.beat().await;
        assert!(!watchdog.all_beat(), "one heart did not beat");
        alive.beat().await;
        stuck.beat().await;
        assert!(watchdog.all_beat(), "both beat again");
        drop(stuck);
        alive.beat().await;
        assert!(watchdog.all_beat(), "a heart that ended is not missed");
    }

    #[test]
    fn a_pulse_that_stops_stops_the_pings() {
        let watchdog = Watchdog::new(Some(Duration::from_secs(8)));
        let (alive, stuck) = (watchdog.pulse(), watchdog.pulse());
        assert!(watchdog.all_beat(), "a thread that has just started gets time for its first round");
        alive.beat();
        assert!(!watchdog.all_beat(), "one pulse did not beat");
        alive.beat();
        stuck.beat();
        assert!(watchdog.all_beat(), "both beat again");
        drop(stuck);
        alive.beat();
        assert!(watchdog.all_beat(), "a pulse that ended is not missed");
        assert!(!watchdog.all_beat(), "nor does its end stand for the other's beats");
    }

    #[test]
    fn a_pulse_is_due_four_times_within_the_timeout() {
        let now = Instant::now();
        let pulse = Watchdog::new(Some(Duration::from_secs(8))).pulse();
        assert_eq!(pulse.due_after(now), Some(now + Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_nothing_wakes() {
        for watchdog in [None, Some(Duration::ZERO)].map(Watchdog::new) {
            let pulse = watchdog.pulse();
            pulse.beat();
            assert_eq!(pulse.due_after(Instant::now()), None);
            assert!(watchdog.hearts.lock().expect("no holder panics").is_empty(), "nobody to look after");
        }
        let watchdog = Watchdog::new(None);
        let mut heartbeat = watchdog.heartbeat();
        let mut ticks = watchdog.ticks();
        let waited = tokio::time::timeout(Duration::from_hours(1), async {
            tokio::select! { () = heartbeat.beat() => {}, () = ticks.next() => {} }
        });
        assert!(waited.await.is_err());
    }
}
