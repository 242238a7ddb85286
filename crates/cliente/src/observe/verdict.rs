//! The states of all targets summed up in words, for the title of the page and the status line.

use std::fmt;
use std::sync::Arc;

use daemon::plural::Plural;

use super::history::{Now, Rounds, Second, Standing, State};

/// All targets with what is known of them, the worst first.
pub(crate) struct Verdict {
    pub(crate) targets: Vec<(Arc<Rounds>, Standing)>,
    pub(crate) failing: usize,
    pub(crate) unknown: usize,
}

impl Verdict {
    pub(crate) fn of(all: Vec<Arc<Rounds>>) -> Self {
        let with_standing = |rounds: Arc<Rounds>| {
            let standing = rounds.standing();
            (rounds, standing)
        };
        let mut targets: Vec<_> = all.into_iter().map(with_standing).collect();
        // Equal ones stay in the order of their names.
        targets.sort_by_key(|(_, standing)| rank(standing));
        let count =
            |is: fn(State) -> bool| targets.iter().filter(|(_, standing)| is(standing.state())).count();
        let failing = count(|state| matches!(state, State::Failing(..)));
        let unknown = count(|state| state == State::Unknown);
        Self { targets, failing, unknown }
    }

    /// How many targets are right.
    pub(crate) fn right(&self) -> usize {
        self.targets.len() - self.failing - self.unknown
    }
}

/// Those that fail the longest first, then those of which nothing is known, then those with the most failures.
fn rank(standing: &Standing) -> (u8, Second, u32) {
    match standing.state() {
        State::Failing(since, _) => (0, since, 0),
        State::Unknown => (1, Second::default(), 0),
        State::Right(_) => (2, Second::default(), u32::MAX - standing.failed),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failing, unknown, .. } = self;
        let (all, right) = (self.targets.len(), self.right());
        match (all, failing, unknown) {
            (0, ..) => write!(formatter, "no targets"),
            (1, 1, _) => write!(formatter, "failing"),
            (1, _, 1) => write!(formatter, "nothing measured"),
            (1, ..) => write!(formatter, "right"),
            (_, 0, 0) => write!(formatter, "all {all} right"),
            (_, 0, _) => write!(formatter, "{right} of {all} right, {unknown} not measured"),
            (_, _, 0) => write!(formatter, "{failing} of {all} failing"),
            _ => write!(formatter, "{failing} of {all} failing, {unknown} not measured"),
        }
    }
}

/// As [`Verdict`], for a line that also names the worst target.
pub(crate) struct Line<'a>(pub(crate) &'a Verdict, pub(crate) Now);

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(verdict, now) = self;
        let Some((worst, standing)) = verdict.targets.first() else { return write!(formatter, "no targets") };
        let (all, name) = (verdict.targets.len(), worst.name());
        let others = |formatter: &mut fmt::Formatter<'_>| match verdict.unknown {
            0 => Ok(()),
            unknown => write!(formatter, ", {unknown} not measured"),
        };
        match standing.state() {
            State::Failing(since, reason) => {
                let (since, reason) = (now.time_of_day(since), reason.as_str());
                if all == 1 {
                    return write!(formatter, "{name} failing since {since} UTC: {reason}");
                }
                write!(formatter, "{} of {} failing", verdict.failing, Plural(all as u64, "target"))?;
                others(formatter)?;
                write!(formatter, "; {name} since {since} UTC: {reason}")
            }
            State::Unknown | State::Right(_) if all == 1 => write!(formatter, "{name} {verdict}"),
            State::Unknown => {
                write!(formatter, "{} of {} right", verdict.right(), Plural(all as u64, "target"))?;
                others(formatter)
            }
            State::Right(_) => write!(formatter, "all {all} targets right"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{CLOSED, REFUSED, RIGHT, rounds, seconds_later};
    use super::*;

    fn words(targets: &[Arc<Rounds>]) -> (String, String) {
        let verdict = Verdict::of(targets.to_vec());
        (verdict.to_string(), Line(&verdict, seconds_later(0)).to_string())
    }

    #[test]
    fn the_longest_failure_comes_first_and_those_with_most_failures_before_the_others() {
        let targets = [
            rounds("a", [RIGHT, RIGHT]),
            rounds("b", [CLOSED, RIGHT]),
            rounds("c", [RIGHT, CLOSED]),
            rounds("d", []),
            rounds("e", [CLOSED, CLOSED, RIGHT]),
            rounds("f", [CLOSED]),
        ];
        let order = Verdict::of(targets.to_vec()).targets;
        let names: Vec<&str> = order.iter().map(|(rounds, _)| rounds.name()).collect();
        assert_eq!(names, ["f", "c", "d", "e", "b", "a"]);
    }

    #[test]
    fn words_say_the_worst_first() {
        let (right, failing, unknown) =
            (rounds("r:1", [RIGHT]), rounds("f:1", [RIGHT, REFUSED]), rounds("u:1", []));
        let told = |targets: &[&Arc<Rounds>]| {
            words(&targets.iter().map(|&target| Arc::clone(target)).collect::<Vec<_>>())
        };
        let expect = |title: &str, line: &str| (title.to_owned(), line.to_owned());
        assert_eq!(told(&[]), expect("no targets", "no targets"));
        assert_eq!(told(&[&right]), expect("right", "r:1 right"));
        assert_eq!(told(&[&failing]), expect("failing", "f:1 failing since 18:00:01 UTC: refused"));
        assert_eq!(told(&[&unknown]), expect("nothing measured", "u:1 nothing measured"));
        assert_eq!(told(&[&right, &right]), expect("all 2 right", "all 2 targets right"));
        assert_eq!(
            told(&[&right, &failing]),
            expect("1 of 2 failing", "1 of 2 targets failing; f:1 since 18:00:01 UTC: refused")
        );
        assert_eq!(
            told(&[&right, &unknown]),
            expect("1 of 2 right, 1 not measured", "1 of 2 targets right, 1 not measured")
        );
        assert_eq!(
            told(&[&unknown, &failing]),
            expect(
                "1 of 2 failing, 1 not measured",
                "1 of 2 targets failing, 1 not measured; f:1 since 18:00:01 UTC: refused"
            )
        );
    }
}
