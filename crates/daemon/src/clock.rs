//! When something happened, by the wall clock as it is set now.
//!
//! The wall clock may be set while a daemon runs: by a day, or from 1970 on a host that starts without a battery. So a moment is
//! remembered by a clock that nobody sets, and becomes a time of day when it is shown: its age is right, whatever was set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A moment: the time since the host has started, suspended or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default()))
    }
}

/// The wall clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// Unix time when the host started, as it was known when this was made.
    host_start: f64,
}

impl WallClock {
    /// As it is set now. Moments since then have the time that it showed, as long as nobody sets it.
    pub fn new() -> Self {
        Self { host_start: host_start() }
    }

    /// When `moment` was, in Unix time.
    pub fn unix_time(self, Moment(moment): Moment) -> f64 {
        // In whole seconds: what was read a moment later shows the same.
        let set = (host_start() - self.host_start).round();
        self.host_start + moment.as_secs_f64() + set
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

fn host_start() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs_f64() - Moment::now().0.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_long_ago_as_it_was_however_the_clock_was_set_since() {
        let moment = Moment::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        for set in [0.0, 86_400.0, -86_400.0, 1.6e9] {
            let clock = WallClock { host_start: host_start() - set };
            let shown = clock.unix_time(moment);
            // A busy machine may take a while between the two looks.
            assert!((shown - now).abs() < 10.0, "{shown} instead of {now}");
            assert_eq!(shown.to_bits(), clock.unix_time(moment).to_bits());
        }
    }
}
