//! Notices when this process was kept from running while a round was under way.
//!
//! Such a time is not the server's: the process was stopped, frozen or throttled, or it waited for a processor. While a round is
//! under way, a timer is set that should wake the thread of the rounds again and again, soon after a phase has begun and then
//! more and more seldom. If the thread runs only after the timer was due, it was kept from running, but for the time that it
//! used the processor itself.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::read;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

#[cfg(feature = "simulation")]
use crate::simulation::host as simulated;

/// The first beat of a phase comes after so long at most, and no two beats are closer.
const FIRST_BEAT: Duration = Duration::from_micros(500);
/// The beats of a long phase are never further apart.
const LAST_BEAT: Duration = Duration::from_millis(100);
/// A beat that is late by less has only taken the time that a wake-up takes.
const TOLERANCE: Duration = Duration::from_micros(250);
/// The beats of a phase come when its age has grown by a quarter. So a stall of half of the phase makes at least one beat late.
const GROWTH: u32 = 4;

/// Measures stalls of the thread that makes the rounds. Clones are one meter.
#[derive(Clone, Debug, Default)]
pub struct StallMeter(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    timer: OwnedFd,
    state: Mutex<State>,
}

/// A round under way: the timer is set while there is one. Dropped at its end.
#[derive(Debug)]
pub struct Watch(StallMeter);

/// A phase of a round. Drop it, and nothing is measured.
#[derive(Debug)]
pub struct Phase<'a> {
    meter: Option<&'a Inner>,
    begun: Duration,
    stalled: Duration,
}

/// What is known about the thread; all times are of the monotonic clock.
#[derive(Debug, Default)]
struct State {
    /// The number of rounds.
    under_way: usize,
    /// When the youngest phase began.
    youngest: Duration,
    /// When the next beat is due.
    due: Option<Duration>,
    /// When the thread was last seen to run.
    seen: Duration,
    /// The processor time that it had used when the timer was last set.
    used: Duration,
    /// The sum of all stalls.
    stalled: Duration,
    /// When the last stall began and ended.
    last_stall: Option<(Duration, Duration)>,
}

impl StallMeter {
    /// A meter for the thread that calls this; [`StallMeter::run`] must run there too. The default one never notices anything.
    ///
    /// # Errors
    ///
    /// If the kernel has no timer: timerfd_create(2).
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(Some(Arc::new(Inner { timer, state: Mutex::default() }))))
    }

    /// Takes the beats, for ever.
    ///
    /// # Errors
    ///
    /// If the timer cannot be waited for: epoll_ctl(2).
    pub async fn run(&self) -> io::Result<()> {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        #[cfg(feature = "simulation")]
        while let Some(beat) = simulated::beat() {
            beat.await;
            inner.beat();
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe; this descriptor is owned, and open as long as it is registered"
        )]
        let timer = AsyncFd::new(inner.timer.try_clone()?)?;
        loop {
            let mut ready = timer.readable().await?;
            // How often the timer has expired does not matter.
            let _ = read(&inner.timer, &mut [0; 8]);
            ready.clear_ready();
            inner.beat();
        }
    }

    /// Begins a round. Its phases are measured for as long as this is kept.
    pub fn watch(&self) -> Watch {
        if let Some(meter) = &self.0 {
            meter.state().under_way += 1;
        }
        Watch(self.clone())
    }

    /// Begins a phase of a round that is [watched](StallMeter::watch).
    pub fn phase(&self) -> Phase<'_> {
        let begun = now();
        let Some(meter) = self.0.as_deref() else {
            return Phase { meter: None, begun, stalled: Duration::ZERO };
        };
        let mut state = meter.state();
        let beat = state.begin(begun, used);
        let stalled = state.stalled;
        drop(state);
        if let Some(beat) = beat {
            meter.set_timer(beat);
        }
        Phase { meter: Some(meter), begun, stalled }
    }
}

impl Phase<'_> {
    /// Ends the phase, for which at most `limit` was allowed. Returns its time, and for how long the process was kept from running
    /// if the phase was disturbed by that: for half of its time, or when its limit passed.
    pub fn end(self, limit: Duration) -> (Duration, Option<Duration>) {
        let now = now();
        let elapsed = now.saturating_sub(self.begun);
        let Some(meter) = self.meter else { return (elapsed, None) };
        let mut state = meter.state();
        state.see(now, used);
        let stalled = state.stalled.saturating_sub(self.stalled);
        let deadline = self.begun + limit;
        let missed_deadline = state.last_stall.is_some_and(|(from, to)| from <= deadline && deadline <= to);
        drop(state);
        let is_disturbed = !stalled.is_zero() && (stalled * 2 >= elapsed || missed_deadline);
        (elapsed, is_disturbed.then_some(stalled))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(meter) = &self.0.0 else { return };
        let was_set = meter.state().end();
        if was_set {
            meter.set_timer(Duration::ZERO);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let mut state = self.state();
        let beat = state.beat(now(), used);
        drop(state);
        if let Some(beat) = beat {
            self.set_timer(beat);
        }
    }

    /// Sets the time of the next beat. Zero, when there is none, disarms it: the monotonic clock began long ago.
    fn set_timer(&self, beat: Duration) {
        #[cfg(feature = "simulation")]
        if simulated::set_beat(beat) {
            return;
        }
        let it_value = Timespec {
            tv_sec: i64::try_from(beat.as_secs()).expect("the clock began at boot"),
            tv_nsec: beat.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let time = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time).expect("a timer and a valid time");
    }
}

impl State {
    /// A phase begins at `now`. Returns when the next beat is due, unless the timer is set to an earlier time already: it costs a
    /// system call, so that the phases of a short round share one.
    fn begin(&mut self, now: Duration, used: impl Fn() -> Duration) -> Option<Duration> {
        self.see(now, &used);
        self.youngest = now;
        let is_soon = self.due.is_some_and(|due| due <= now + FIRST_BEAT);
        if is_soon { None } else { self.next_beat(used) }
    }

    /// The timer has expired. Returns when the next beat is due.
    fn beat(&mut self, now: Duration, used: impl Fn() -> Duration) -> Option<Duration> {
        self.see(now, &used);
        self.next_beat(used)
    }

    /// A round ends. Returns whether it was the last, and the timer is set.
    fn end(&mut self) -> bool {
        self.under_way -= 1;
        self.under_way == 0 && self.due.take().is_some()
    }

    fn next_beat(&mut self, used: impl Fn() -> Duration) -> Option<Duration> {
        let wait = (self.seen.saturating_sub(self.youngest) / GROWTH).clamp(FIRST_BEAT, LAST_BEAT);
        self.used = used();
        self.due = (self.under_way > 0).then(|| self.seen + wait);
        self.due
    }

    /// The thread runs at `now`, and has used so much processor time. If a beat is overdue, it did not run since it was last seen.
    fn see(&mut self, now: Duration, used: impl Fn() -> Duration) {
        if self.due.is_some_and(|due| now > due + TOLERANCE) {
            let used = used();
            let stall = now.saturating_sub(self.seen).saturating_sub(used.saturating_sub(self.used));
            self.used = used;
            self.stalled += stall;
            if !stall.is_zero() {
                self.last_stall = Some((self.seen, now));
            }
        }
        self.seen = now;
    }
}

fn now() -> Duration {
    #[cfg(feature = "simulation")]
    if let Some(now) = simulated::now() {
        return now;
    }
    duration(clock_gettime(ClockId::Monotonic))
}

/// The processor time of this thread.
fn used() -> Duration {
    #[cfg(feature = "simulation")]
    if let Some(used) = simulated::used() {
        return used;
    }
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).expect("these clocks are never negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The state at a second, when the first phase of the only round begins.
    fn begun() -> State {
        let mut state = State { under_way: 1, ..State::default() };
        let beat = state.begin(1000 * MS, || Duration::ZERO);
        assert_eq!(beat, Some(1000 * MS + FIRST_BEAT));
        state
    }

    #[test]
    fn beats_come_when_the_youngest_phase_has_grown_by_a_quarter() {
        let mut state = begun();
        for (age, wait) in [(1, FIRST_BEAT), (4, MS), (100, 25 * MS), (10_000, LAST_BEAT)] {
            let now = 1000 * MS + age * MS;
            assert_eq!(state.beat(now, || Duration::ZERO), Some(now + wait), "{age}");
        }
    }

    #[test]
    fn a_phase_sets_the_timer_only_if_the_next_beat_would_come_too_late() {
        let mut state = begun();
        assert_eq!(state.begin(1000 * MS + FIRST_BEAT / 2, || Duration::ZERO), None);
        let late = 1100 * MS;
        assert_eq!(state.beat(late, || Duration::ZERO), Some(late + late.saturating_sub(state.youngest) / 4));
        assert_eq!(state.begin(late + MS, || Duration::ZERO), Some(late + MS + FIRST_BEAT));
    }

    #[test]
    fn the_last_round_that_ends_disarms_the_timer() {
        let mut state = begun();
        state.under_way += 1;
        assert!(!state.end() && state.end());
        assert_eq!(state.beat(1000 * MS + FIRST_BEAT, || Duration::ZERO), None);
        state.under_way += 1;
        assert!(!state.end(), "no phase had begun, so the timer was not set");
    }

    #[test]
    fn a_beat_that_is_late_is_a_stall_but_for_the_time_that_the_thread_ran() {
        let at = |after: Duration| 1000 * MS + after;
        for (seen, used, stalled) in [
            // In time, and as late as a wake-up may be.
            (FIRST_BEAT, Duration::ZERO, Duration::ZERO),
            (FIRST_BEAT + TOLERANCE, Duration::ZERO, Duration::ZERO),
            (5 * MS, Duration::ZERO, 5 * MS),
            (5 * MS, 2 * MS, 3 * MS),
            (5 * MS, 5 * MS, Duration::ZERO),
        ] {
            let mut state = begun();
            state.see(at(seen), || used);
            assert_eq!(state.stalled, stalled, "seen after {seen:?}, used {used:?}");
            assert_eq!(state.last_stall, (!stalled.is_zero()).then(|| (at(Duration::ZERO), at(seen))));
        }
    }

    #[test]
    fn sleeping_between_rounds_is_no_stall() {
        let mut state = begun();
        assert!(state.end());
        state.under_way += 1;
        state.begin(100_000 * MS, || Duration::ZERO);
        assert_eq!(state.stalled, Duration::ZERO);
    }

    #[test]
    fn a_meter_that_is_off_measures_time_and_no_stall() {
        let (elapsed, disturbed) = StallMeter::default().phase().end(Duration::ZERO);
        assert!(elapsed < testkit::DEADLINE && disturbed.is_none());
    }
}
