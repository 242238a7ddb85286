//! When rounds are due: at a fixed rate, each target at a phase of its own, and never two at once to make up for lost time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::hash::{fnv, mix};

/// Where the ticks of all targets are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    zero: Instant,
    start: Instant,
}

impl Epoch {
    /// The epoch for which the first of `targets` ticks at `now`, and the others within an `interval`.
    pub(crate) fn at_first_of<'a>(
        targets: impl Iterator<Item = &'a str>,
        now: Instant,
        interval: Duration,
    ) -> Self {
        let first = targets.map(|target| phase(target, interval)).min().unwrap_or_default();
        Self { zero: now.checked_sub(first).unwrap_or(now), start: now }
    }

    /// When the first of all targets ticks.
    pub(crate) fn start(self) -> Instant {
        self.start
    }

    /// The first tick of `target` that is not before `since`.
    pub(crate) fn first_tick(self, target: &str, interval: Duration, since: Instant) -> Instant {
        let first = self.zero + phase(target, interval);
        let missed = since.saturating_duration_since(first).as_nanos().div_ceil(interval.as_nanos());
        first + Duration::from_nanos_u128(interval.as_nanos() * missed)
    }
}

/// When `target` ticks within each interval: a hash of its name, so that targets do not tick together, and each ticks at the same
/// phase after a restart or a reload.
fn phase(target: &str, interval: Duration) -> Duration {
    Duration::from_nanos_u128((interval.as_nanos() * u128::from(mix(fnv(target)))) >> 64)
}

/// The ticks of one target.
#[derive(Debug)]
pub struct Schedule {
    next: Instant,
    interval: Duration,
}

/// A tick whose round begins now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How long ago it was meant to begin; less than an interval.
    pub delay: Duration,
    /// How many ticks before it were missed by a whole interval or more.
    pub skipped: u64,
}

impl Schedule {
    /// Ticks at `start`, and then every `interval`, which must not be zero.
    pub fn new(start: Instant, interval: Duration) -> Self {
        Self { next: start, interval }
    }

    /// Waits for the next tick. Giving up the wait loses none.
    pub async fn tick(&mut self) -> Tick {
        sleep_until(self.next).await;
        self.claim(Instant::now())
    }

    /// Waits for the end of `round`, and says how many ticks are skipped because they fell due before it.
    pub async fn during<T>(&mut self, round: impl Future<Output = T>) -> (T, u64) {
        let outcome = round.await;
        (outcome, self.pass(Instant::now()))
    }

    /// Takes the tick that is due at `now`. Those that are a whole interval late are skipped: the process was
    /// paused, or its host was, and rounds for that time would say nothing about it.
    fn claim(&mut self, now: Instant) -> Tick {
        let skipped = self.skip(self.lateness(now) / self.interval.as_nanos());
        let delay = now.saturating_duration_since(self.next);
        self.next += self.interval;
        Tick { delay, skipped }
    }

    /// Skips the ticks that fell due before `now`, when a round ended; one that is barely late is skipped too.
    fn pass(&mut self, now: Instant) -> u64 {
        self.skip(self.lateness(now).div_ceil(self.interval.as_nanos()))
    }

    fn lateness(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.next).as_nanos()
    }

    fn skip(&mut self, ticks: u128) -> u64 {
        self.next += Duration::from_nanos_u128(self.interval.as_nanos() * ticks);
        u64::try_from(ticks).expect("2^64 ns are 584 years")
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn schedule() -> (Instant, Schedule) {
        let start = Instant::now();
        (start, Schedule::new(start, INTERVAL))
    }

    #[test]
    fn phases_are_even_over_the_interval_and_stay() {
        let name = |number: u32| format!("server-{number}.example:8888");
        let mut counts = [0; 10];
        for target in 0..10_000 {
            let phase = phase(&name(target), INTERVAL);
            counts[usize::try_from(phase.as_secs()).expect("less than ten")] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        // A changed hash would move every target's ticks with an upgrade.
        assert_eq!(phase("127.0.0.1:8888", INTERVAL).as_millis(), 7605);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_all_targets_ticks_at_the_start_and_later_ones_at_their_phase() {
        let targets = ["a:1", "b:1", "c:1"];
        let start = Instant::now();
        let epoch = Epoch::at_first_of(targets.into_iter(), start, INTERVAL);
        let mut first = targets.map(|target| epoch.first_tick(target, INTERVAL, start));
        first.sort_unstable();
        assert_eq!(first[0], start);
        assert!(first[2] < start + INTERVAL && first.is_sorted() && first[0] < first[1]);
        advance(INTERVAL * 3 + INTERVAL / 2).await;
        for target in targets {
            let now = Instant::now();
            let next = epoch.first_tick(target, INTERVAL, now);
            assert_eq!(
                (next - epoch.zero).as_nanos() % INTERVAL.as_nanos(),
                phase(target, INTERVAL).as_nanos()
            );
            assert!((now..now + INTERVAL).contains(&next), "{target}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_schedule_that_begins_anew_makes_no_tick_twice() {
        let epoch = Epoch::at_first_of(["a:1"].into_iter(), Instant::now(), INTERVAL);
        let tick = epoch.first_tick("a:1", INTERVAL, epoch.start());
        assert_eq!(tick, epoch.start());
        assert_eq!(epoch.first_tick("a:1", INTERVAL, tick + Duration::from_nanos(1)), tick + INTERVAL);
        assert_eq!(epoch.first_tick("a:1", INTERVAL, tick + INTERVAL), tick + INTERVAL);
    }

    #[test]
    fn the_first_tick_is_due_at_the_start() {
        let (start, mut schedule) = schedule();
        assert_eq!(schedule.next, start);
        assert_eq!(schedule.claim(start), Tick { delay: Duration::ZERO, skipped: 0 });
    }

    #[test]
    fn late_starts_do_not_add_up() {
        let (start, mut schedule) = schedule();
        for tick in 0..1000 {
            let due = start + INTERVAL * tick;
            assert_eq!(schedule.next, due);
            let delay = Duration::from_millis(u64::from(tick * 9));
            assert_eq!(schedule.claim(due + delay), Tick { delay, skipped: 0 });
            assert_eq!(schedule.pass(due + delay), 0);
        }
    }

    #[test]
    fn ticks_a_whole_interval_late_are_skipped() {
        for (late, skipped) in [(9.999, 0_u32), (10.0, 1), (19.999, 1), (20.0, 2), (1_000_000.0, 100_000)] {
            let (start, mut schedule) = schedule();
            let due = after(start, 10.0 * f64::from(skipped));
            let delay = after(start, late) - due;
            let tick = schedule.claim(after(start, late));
            assert_eq!(tick, Tick { delay, skipped: u64::from(skipped) }, "{late} s late");
            assert_eq!(schedule.next, due + INTERVAL, "{late} s late");
        }
    }

    #[test]
    fn ticks_that_fell_due_during_a_round_are_skipped_even_if_barely_late() {
        for (end, skipped) in
            [(0.0, 0_u32), (9.999, 0), (10.0, 0), (10.001, 1), (20.0, 1), (20.001, 2), (35.0, 3)]
        {
            let (start, mut schedule) = schedule();
            schedule.claim(start);
            assert_eq!(schedule.pass(after(start, end)), u64::from(skipped), "ended after {end} s");
            let next = after(start, 10.0 * f64::from(skipped + 1));
            assert_eq!(schedule.next, next, "ended after {end} s");
            let tick = Tick { delay: Duration::ZERO, skipped: 0 };
            assert_eq!(schedule.claim(next), tick, "ended after {end} s");
        }
    }

    /// Makes rounds that last as many seconds as `lasts` says. Returns when each began, and how many ticks were skipped.
    async fn starts(lasts: &[u64]) -> (Vec<u64>, u64) {
        let (start, mut schedule) = schedule();
        let (mut begun, mut skipped) = (Vec::new(), 0);
        for &seconds in lasts {
            let tick = schedule.tick().await;
            begun.push(start.elapsed().as_secs());
            let ((), meanwhile) = schedule.during(sleep(Duration::from_secs(seconds))).await;
            skipped += tick.skipped + meanwhile;
        }
        (begun, skipped)
    }

    #[tokio::test(start_paused = true)]
    async fn short_rounds_begin_at_every_tick() {
        assert_eq!(starts(&[0, 1, 9, 3]).await, (vec![0, 10, 20, 30], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn long_rounds_skip_ticks_and_none_is_made_up_for() {
        assert_eq!(starts(&[0, 25, 0, 11, 0]).await, (vec![0, 10, 40, 50, 70], 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_process_skips_ticks_and_goes_on_in_step() {
        let (start, mut schedule) = schedule();
        schedule.tick().await;
        // Nothing ran for so long, not even the timers.
        advance(Duration::from_secs(47)).await;
        let tick = schedule.tick().await;
        assert_eq!((tick.delay.as_secs(), tick.skipped), (7, 3));
        assert_eq!(schedule.tick().await.skipped, 0);
        assert_eq!(start.elapsed().as_secs(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_loses_no_tick() {
        let (start, mut schedule) = schedule();
        schedule.tick().await;
        assert!(timeout(Duration::from_secs(9), schedule.tick()).await.is_err());
        assert_eq!(schedule.tick().await.skipped, 0);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}
