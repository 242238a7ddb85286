//! The state of a target in words, and times as the page has them.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::observe::history::{Now, Second, Standing, State};

const DAY: Duration = Duration::from_hours(24);

/// The state of a target, in HTML.
pub(super) struct Words {
    pub(super) standing: Standing,
    pub(super) now: Now,
}

impl Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { standing, now } = *self;
        let age = |since| Age(now.since(since));
        match standing.state() {
            State::Failing(since, reason) => {
                write!(formatter, "failing for {}: {}, ", age(since), reason.as_str())?;
                self.last_right(formatter)
            }
            State::Right(since) => write!(formatter, "right for {}", age(since)),
            State::Unknown => {
                match standing.disturbed {
                    0 => return write!(formatter, "not measured yet"),
                    1 => write!(formatter, "the last round was disturbed, ")?,
                    disturbed => write!(formatter, "the last {disturbed} rounds were disturbed, ")?,
                }
                self.last_right(formatter)
            }
        }
    }
}

impl Words {
    fn last_right(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.standing.last_right {
            Some(at) => write!(formatter, "last right {}", Time { at, now: self.now }),
            None => write!(formatter, "never right"),
        }
    }
}

/// A point in time, in UTC; the page's script makes it local. With the date, if it is a day ago.
pub(super) struct Time {
    pub(super) at: Second,
    pub(super) now: Now,
}

impl Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, now } = self;
        let (rfc3339, time) = (now.rfc3339(*at), now.time_of_day(*at));
        let date = if now.since(*at) < DAY { "" } else { &rfc3339[.."2026-01-31".len()] };
        let space = if date.is_empty() { "" } else { " " };
        write!(formatter, r#"<time datetime="{rfc3339}">{date}{space}{time}</time>"#)
    }
}

/// How long ago something was, in one unit.
struct Age(Duration);

impl Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ ..120 => write!(formatter, "{seconds} s"),
            seconds @ ..7_200 => write!(formatter, "{} min", seconds / 60),
            seconds @ ..172_800 => write!(formatter, "{} h", seconds / 3600),
            seconds => write!(formatter, "{} d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::PastResult::Disturbed;
    use crate::observe::history::tests::{CLOSED, REFUSED, RIGHT, rounds, seconds_later};

    #[test]
    fn a_state_is_told_with_its_age_its_reason_and_the_last_right_round() {
        let after = |results: &[_], seconds| {
            let standing = rounds("a:1", results.iter().copied()).standing();
            Words { standing, now: seconds_later(seconds) }.to_string()
        };
        let at = |text| format!(r#"<time datetime="1970-01-01T18:00:00Z">{text}</time>"#);
        assert_eq!(after(&[], 0), "not measured yet");
        assert_eq!(after(&[Disturbed], 0), "the last round was disturbed, never right");
        assert_eq!(after(&[RIGHT, RIGHT], 119), "right for 119 s");
        assert_eq!(after(&[RIGHT, Disturbed], 120), "right for 2 min");
        assert_eq!(after(&[REFUSED, REFUSED], 7200), "failing for 2 h: refused, never right");
        let failing = format!("failing for 2 min: closed, last right {}", at("18:00:00"));
        assert_eq!(after(&[RIGHT, REFUSED, CLOSED], 121), failing);
        let failing = format!("failing for 2 d: closed, last right {}", at("1970-01-01 18:00:00"));
        assert_eq!(after(&[RIGHT, CLOSED], 172_801), failing);
        let unknown = "the last 3 rounds were disturbed, last right ".to_owned() + &at("18:00:00");
        assert_eq!(after(&[RIGHT, Disturbed, Disturbed, Disturbed], 4), unknown);
    }
}
