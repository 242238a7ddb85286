//! The watchdog of systemd: sd_watchdog_enabled(3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Knows whether every task and thread still sends its heartbeat. Only then is systemd's watchdog pinged.
#[derive(Clone, Debug)]
pub struct Watchdog {
    timeout: Option<Duration>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A heartbeat, as the watchdog sees it.
#[derive(Debug)]
struct Watched {
    beats: Arc<AtomicU64>,
    /// At the last check.
    seen: u64,
}

/// Shows that a task is still polled, or that a thread still runs its loop.
#[derive(Debug)]
pub struct Heartbeat {
    beats: Arc<AtomicU64>,
    /// The longest time between two beats. None where no watchdog is set.
    period: Option<Duration>,
}

impl Watchdog {
    /// The watchdog that systemd asked for, if it did: `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout: timeout.filter(|timeout| !timeout.is_zero()), watched: Arc::default() }
    }

    /// A heartbeat, which is checked from now on until it is dropped.
    pub fn heartbeat(&self) -> Heartbeat {
        let beats = Arc::new(AtomicU64::new(0));
        if self.timeout.is_some() {
            let watched = Watched { beats: Arc::clone(&beats), seen: u64::MAX };
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        }
        Heartbeat { beats, period: self.timeout.map(|timeout| timeout / 4) }
    }

    /// Ticks at half the timeout, or never where no watchdog is set.
    pub fn ticks(&self) -> Ticks {
        Ticks(self.timeout.map(|timeout| ticks(timeout / 2)))
    }

    /// Whether there was a beat of every heartbeat since the last call.
    pub fn all_beat(&self) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // A task that ended has dropped its heartbeat. Whether it may end is checked elsewhere.
        watched.retain(|each| Arc::strong_count(&each.beats) > 1);
        let mut all = true;
        for each in watched.iter_mut() {
            let beats = each.beats.load(Ordering::Relaxed);
            all &= beats != each.seen;
            each.seen = beats;
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
    /// For a thread that runs its own loop: shows that it does.
    #[inline]
    pub fn beat(&self) {
        if self.period.is_some() {
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When the next beat is due after one at `now`. None where no watchdog is set.
    pub fn due_after(&self, now: Instant) -> Option<Instant> {
        self.period.map(|period| now + period)
    }

    /// For a task, which polls this together with its work: beats for as long as it is polled. It never resolves, and never
    /// wakes the task where no watchdog is set.
    pub async fn keep_beating(&self) {
        let Some(period) = self.period else { return std::future::pending().await };
        let mut ticks = ticks(period);
        loop {
            ticks.tick().await;
            self.beat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(8);

    /// Polls the tasks of these heartbeats for half the timeout, which is when the watchdog checks.
    async fn poll_for_a_while(heartbeats: &[&Heartbeat]) {
        for heartbeat in heartbeats {
            let outcome = tokio::time::timeout(TIMEOUT / 2, heartbeat.keep_beating()).await;
            assert!(outcome.is_err(), "it never resolves");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_not_polled_stops_the_pings() {
        let watchdog = Watchdog::new(Some(TIMEOUT));
        let (alive, stuck) = (watchdog.heartbeat(), watchdog.heartbeat());
        poll_for_a_while(&[&alive, &stuck]).await;
        assert!(watchdog.all_beat());
        poll_for_a_while(&[&alive]).await;
        assert!(!watchdog.all_beat(), "one task was not polled");
        poll_for_a_while(&[&alive, &stuck]).await;
        assert!(watchdog.all_beat(), "both were polled again");
        drop(stuck);
        poll_for_a_while(&[&alive]).await;
        assert!(watchdog.all_beat(), "a task that ended is not missed");
    }

    #[test]
    fn a_thread_that_is_stuck_stops_the_pings() {
        let watchdog = Watchdog::new(Some(TIMEOUT));
        let (alive, stuck) = (watchdog.heartbeat(), watchdog.heartbeat());
        assert!(watchdog.all_beat(), "a thread that has just started gets time for its first round");
        alive.beat();
        assert!(!watchdog.all_beat(), "one thread did not beat");
        alive.beat();
        stuck.beat();
        assert!(watchdog.all_beat(), "both beat again");
        drop(stuck);
        alive.beat();
        assert!(watchdog.all_beat(), "a thread that ended is not missed");
        assert!(!watchdog.all_beat(), "nor does its end count as a beat of the other");
    }

    #[test]
    fn a_beat_is_due_four_times_within_the_timeout() {
        let now = Instant::now();
        let heartbeat = Watchdog::new(Some(TIMEOUT)).heartbeat();
        assert_eq!(heartbeat.due_after(now), Some(now + TIMEOUT / 4));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_nothing_wakes() {
        for watchdog in [None, Some(Duration::ZERO)].map(Watchdog::new) {
            let heartbeat = watchdog.heartbeat();
            heartbeat.beat();
            assert_eq!(heartbeat.due_after(Instant::now()), None);
            assert!(
                watchdog.watched.lock().expect("no holder panics").is_empty(),
                "there is nothing to check"
            );
        }
        let watchdog = Watchdog::new(None);
        let (heartbeat, mut ticks) = (watchdog.heartbeat(), watchdog.ticks());
        let waited = tokio::time::timeout(Duration::from_hours(1), async {
            tokio::select! { () = heartbeat.keep_beating() => {}, () = ticks.next() => {} }
        });
        assert!(waited.await.is_err());
    }
}
