//! The trace of a run, for people. It is kept only on request.

use std::fmt::{self, Display};

/// The lines of a run.
#[derive(Default)]
pub(super) struct Trace(Option<Vec<String>>);

impl Trace {
    pub(super) fn kept() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }

    pub(super) fn add(&mut self, now: u64, line: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.0 {
            lines.push(format!("{:>16}  {line}", Time(now)));
        }
    }
}

/// Adds a line to the trace of a world. Formatting happens only if the trace is kept.
macro_rules! trace {
    ($world:expr, $($line:tt)+) => {
        $world.trace.add($world.now, format_args!($($line)+))
    };
}
pub(super) use trace;

/// Nanoseconds since the run began, as seconds.
pub(super) struct Time(pub(super) u64);

impl Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000))
    }
}
