//! The last rounds of each target and its state, for the page and the status line.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use daemon::clock::{Moment, WallClock};
use daemon::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use daemon::sync::{Mutex, MutexGuard};

use crate::round::Outcome;
use crate::round::failure::Failure;
use crate::round::reason::Reason;
use crate::targets::target::Target;

/// How many rounds of a target are remembered, unless there are many targets.
pub const CAPACITY: usize = 100;
/// How many rounds are remembered of all targets together, as long as each has its [`FEWEST`].
const MOST: usize = 200_000;
/// How many rounds of a target are remembered at least.
const FEWEST: usize = 20;
/// The state of a target is unknown after this many disturbed rounds in a row.
const UNKNOWN_AFTER: u32 = 3;

/// The rounds of all targets, and those that this host makes with itself.
#[derive(Debug, Default)]
pub struct History {
    targets: Mutex<BTreeMap<String, Arc<Probed>>>,
    /// How many targets there are: rounds need not wait for the lock to know it.
    count: AtomicUsize,
    clock: WallClock,
    /// The control rounds.
    pub(crate) control: Rounds,
}

/// The rounds of a target, as its probes hold them: they are counted to know whether it is still probed. Readers hold the rounds
/// themselves.
#[derive(Debug)]
pub(crate) struct Probed(Arc<Rounds>);

/// The last rounds of one target. The lock is held only to add a round or to copy them.
#[derive(Debug, Default)]
pub struct Rounds {
    name: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    past: VecDeque<Past>,
    standing: Standing,
}

/// A round that is over, in 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// When it ended.
    pub at: Second,
    /// Its result.
    pub result: PastResult,
}

/// The result of a round that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PastResult {
    /// The round trip in seconds.
    Right(f32),
    /// Why it failed.
    Failed(Reason),
    /// This process was kept from running.
    Disturbed,
}

/// A second, counted since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(u32);

/// When a page is made.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    second: Second,
    /// The Unix time of second 0, by the wall clock as it is set now.
    host_start: i64,
}

/// What is known about a target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// The result of the last round that was not disturbed, and when the first of those like it ended.
    last: Option<(Measured, Second)>,
    /// When the last right round ended.
    pub last_right: Option<Second>,
    /// How many rounds have been disturbed since the last one that was not.
    pub disturbed: u32,
    /// How many of the rounds remembered failed.
    pub failed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measured {
    Right,
    Failed(Reason),
}

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The last round failed; failing since then, now for this reason.
    Failing(Second, Reason),
    /// No round has been measured, or the last ones were disturbed.
    Unknown,
    /// The last round was right; right since then.
    Right(Second),
}

impl History {
    /// The rounds of `target`, which is probed from now on.
    pub(crate) fn of(&self, target: &Target) -> Arc<Probed> {
        let name = target.as_str();
        let none = || Arc::new(Rounds { name: name.to_owned(), inner: Mutex::default() });
        let mut targets = self.targets();
        let probed = targets.entry(name.to_owned()).or_insert_with(|| Arc::new(Probed(none())));
        let probed = Arc::clone(probed);
        self.count.store(targets.len(), Relaxed);
        probed
    }

    /// Forgets a target that is no longer probed, unless another probe of it has begun meanwhile.
    pub(crate) fn forget(&self, probed: &Arc<Probed>) {
        let mut targets = self.targets();
        // One is the map's, the other the caller's.
        if Arc::strong_count(probed) == 2 {
            targets.remove(&probed.name);
            self.count.store(targets.len(), Relaxed);
        }
    }

    /// The rounds of all targets, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Rounds>> {
        self.targets().values().map(|probed| Arc::clone(&probed.0)).collect()
    }

    /// How many rounds of each target are remembered, with as many targets as there are now.
    pub(crate) fn capacity(&self) -> usize {
        (MOST / self.count.load(Relaxed).max(1)).clamp(FEWEST, CAPACITY)
    }

    /// This second, and what time of day the others were.
    pub(crate) fn now(&self) -> Now {
        #[expect(clippy::cast_possible_truncation, reason = "a time of day, in seconds")]
        let host_start = self.clock.unix_time(Moment::default()).round() as i64;
        Now { second: Second::now(), host_start }
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Probed>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Probed {
    type Target = Rounds;

    fn deref(&self) -> &Rounds {
        &self.0
    }
}

impl Rounds {
    /// The name of the target.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a round that has just ended, and forgets the oldest beyond `capacity`.
    pub(crate) fn add(&self, outcome: &Outcome, capacity: usize) {
        let result = match (outcome.disturbed, &outcome.result) {
            (Some(_), _) => PastResult::Disturbed,
            (None, Ok(round_trip)) => PastResult::Right(round_trip.as_secs_f32()),
            (None, Err(failure)) => PastResult::Failed(Failure::reason(failure)),
        };
        self.inner().add(Past { at: Second::now(), result }, capacity);
    }

    /// What is known so far.
    pub(crate) fn standing(&self) -> Standing {
        self.inner().standing
    }

    /// The rounds that are remembered, oldest first.
    pub(crate) fn past(&self) -> Vec<Past> {
        self.inner().past.iter().copied().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    /// The round trip in seconds, if the round was right.
    pub(crate) fn round_trip(&self) -> Option<f32> {
        match self.result {
            PastResult::Right(seconds) => Some(seconds),
            PastResult::Failed(_) | PastResult::Disturbed => None,
        }
    }
}

impl Inner {
    fn add(&mut self, past: Past, capacity: usize) {
        while self.past.len() >= capacity {
            let oldest = self.past.pop_front();
            if let Some(Past { result: PastResult::Failed(_), .. }) = oldest {
                self.standing.failed -= 1;
            }
        }
        self.past.push_back(past);
        self.standing.add(past);
    }
}

impl Standing {
    fn add(&mut self, Past { at, result }: Past) {
        let measured = match result {
            PastResult::Right(_) => Measured::Right,
            PastResult::Failed(reason) => Measured::Failed(reason),
            PastResult::Disturbed => {
                self.disturbed = self.disturbed.saturating_add(1);
                return;
            }
        };
        self.disturbed = 0;
        if measured == Measured::Right {
            self.last_right = Some(at);
        } else {
            self.failed += 1;
        }
        let since = match self.last {
            Some((before, since)) if before.is_right() == measured.is_right() => since,
            _ => at,
        };
        self.last = Some((measured, since));
    }

    /// The state that the last rounds show.
    pub(crate) fn state(&self) -> State {
        match self.last {
            _ if self.disturbed >= UNKNOWN_AFTER => State::Unknown,
            None => State::Unknown,
            Some((Measured::Right, since)) => State::Right(since),
            Some((Measured::Failed(reason), since)) => State::Failing(since, reason),
        }
    }
}

impl Measured {
    fn is_right(self) -> bool {
        self == Self::Right
    }
}

impl Second {
    /// This second.
    fn now() -> Self {
        Self(u32::try_from(Moment::now().0.as_secs()).unwrap_or(u32::MAX))
    }
}

impl Now {
    /// How long ago a second was.
    pub(crate) fn since(self, earlier: Second) -> Duration {
        Duration::from_secs(self.second.0.saturating_sub(earlier.0).into())
    }

    /// When it was, with the date, as in RFC 3339.
    pub(crate) fn rfc3339(self, at: Second) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(self.unix_time(at));
        humantime::format_rfc3339_seconds(time).to_string()
    }

    /// The hours, minutes and seconds of UTC.
    pub(crate) fn time_of_day(self, at: Second) -> String {
        let seconds = self.unix_time(at) % 86_400;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    fn unix_time(self, at: Second) -> u64 {
        self.host_start.saturating_add(at.0.into()).try_into().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The rounds of a target with these results, which ended at 18:00:00, 18:00:01 and so on.
    pub(crate) fn rounds(name: &str, results: impl IntoIterator<Item = PastResult>) -> Arc<Rounds> {
        let rounds = Rounds { name: name.to_owned(), inner: Mutex::default() };
        for (result, at) in results.into_iter().zip(64_800..) {
            rounds.inner().add(Past { at: Second(at), result }, CAPACITY);
        }
        Arc::new(rounds)
    }

    /// So many seconds after the first of these rounds ended.
    pub(crate) fn seconds_later(seconds: u32) -> Now {
        Now { second: Second(64_800 + seconds), host_start: 0 }
    }

    pub(crate) const RIGHT: PastResult = PastResult::Right(0.001);
    pub(crate) const REFUSED: PastResult = PastResult::Failed(Reason::Refused);
    pub(crate) const CLOSED: PastResult = PastResult::Failed(Reason::Closed);
    use PastResult::Disturbed;

    #[test]
    fn a_state_lasts_since_the_first_round_of_its_kind() {
        for (results, state, last_right) in [
            (&[][..], State::Unknown, None),
            (&[RIGHT, RIGHT], State::Right(Second(64_800)), Some(Second(64_801))),
            (&[RIGHT, REFUSED, CLOSED], State::Failing(Second(64_801), Reason::Closed), Some(Second(64_800))),
            (&[REFUSED, RIGHT], State::Right(Second(64_801)), Some(Second(64_801))),
            (&[REFUSED, Disturbed], State::Failing(Second(64_800), Reason::Refused), None),
        ] {
            let standing = rounds("a:1", results.iter().copied()).standing();
            assert_eq!((standing.state(), standing.last_right), (state, last_right), "{results:?}");
        }
    }

    #[test]
    fn rounds_that_measured_nothing_leave_the_state_unknown() {
        let state = |results: &[PastResult]| rounds("a:1", results.iter().copied()).standing().state();
        assert_eq!(state(&[Disturbed]), State::Unknown);
        assert_eq!(state(&[RIGHT, Disturbed, Disturbed]), State::Right(Second(64_800)));
        assert_eq!(state(&[RIGHT, Disturbed, Disturbed, Disturbed]), State::Unknown);
        assert_eq!(state(&[REFUSED, Disturbed, Disturbed, Disturbed]), State::Unknown);
        assert_eq!(state(&[Disturbed, Disturbed, Disturbed, RIGHT]), State::Right(Second(64_803)));
    }

    #[test]
    fn the_oldest_rounds_are_forgotten() {
        let results = [REFUSED, REFUSED].into_iter().chain([RIGHT; CAPACITY - 1]);
        let rounds = rounds("a:1", results);
        assert_eq!((rounds.past().len(), rounds.standing().failed), (CAPACITY, 1));
        rounds.inner().add(Past { at: Second(0), result: CLOSED }, 3);
        assert_eq!((rounds.past().len(), rounds.standing().failed), (3, 1));
    }

    #[test]
    fn many_targets_have_fewer_rounds_each() {
        let history = History::default();
        assert_eq!((size_of::<Past>(), history.capacity()), (12, CAPACITY));
        for target in 0..10_000 {
            history.of(&format!("host-{target}:1").parse().unwrap());
        }
        assert_eq!(history.capacity(), FEWEST);
        assert_eq!(history.all().len(), 10_000);
    }

    #[test]
    fn a_target_is_forgotten_with_its_last_probe() {
        let (history, target) = (History::default(), "a:1".parse().unwrap());
        let (first, second) = (history.of(&target), history.of(&target));
        history.forget(&first);
        drop(first);
        assert_eq!(history.all().len(), 1);
        history.forget(&second);
        assert!(history.all().is_empty());
    }

    #[test]
    fn a_target_is_forgotten_even_while_its_rounds_are_shown() {
        let history = History::default();
        let probed = history.of(&"a:1".parse().unwrap());
        let shown = history.all();
        history.forget(&probed);
        assert_eq!((shown.len(), history.all().len()), (1, 0));
    }
}
