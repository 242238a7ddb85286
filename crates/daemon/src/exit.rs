//! The exit statuses, and which failure has which.

use std::error::Error;
use std::fmt::Display;
use std::io::{Write as _, stderr};
use std::iter::successors;
use std::process::ExitCode;

use crate::listener::ListenError;
use crate::logging::is_journal;
use crate::open_files::OpenFilesError;

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The run itself failed.
    Run,
    /// An address cannot be bound: `EX_UNAVAILABLE` of sysexits.h.
    Bind,
    /// Settings, flags or files cannot be used: `EX_CONFIG` of sysexits.h.
    Settings,
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let known = causes(error).find_map(|cause| {
            if let Some(ListenError::Bind { .. }) = cause.downcast_ref() {
                return Some(Self::Bind);
            }
            cause.is::<OpenFilesError>().then_some(Self::Settings)
        });
        known.unwrap_or(Self::Run)
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Run => Self::FAILURE,
            Failure::Bind => Self::from(69),
            Failure::Settings => Self::from(78),
        }
    }
}

/// Prints on standard error why `program` ends before it logs. If that fails, only the exit status says so.
pub fn complain(program: &str, problem: impl Display) {
    // The journal gives lines without a priority the level info.
    let priority = if is_journal() { "<3>" } else { "" };
    for line in format!("{program}: {problem}").lines() {
        let _ = writeln!(stderr(), "{priority}{line}");
    }
}

/// The exit status of a run. If it failed, logs the error with all its causes.
pub fn conclude(outcome: Result<(), impl AsRef<dyn Error + 'static>>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let error = error.as_ref();
    tracing::error!(error = in_one_line(error), "failed");
    Failure::of(error).into()
}

/// An error with all its causes.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The error itself, then its cause, then the cause of that.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::runtime::RuntimeError;
    use crate::settings::ClaimError;

    #[test]
    fn the_cause_of_a_failure_decides_on_the_status() {
        let address = ([127, 0, 0, 1], 1).into();
        let in_use = ListenError::Bind { setting: "listen", address, error: io::ErrorKind::AddrInUse.into() };
        let error = OpenFilesError::HardLimit { wanted: 9, hard: 8 };
        let claim = ClaimError { setting: "max-connections", value: "5".to_owned(), error };
        let panicked = RuntimeError::Panicked;
        for (error, failure, line) in [
            (
                &in_use as &(dyn Error + 'static),
                Failure::Bind,
                "listen = 127.0.0.1:1: cannot be bound: address in use",
            ),
            (
                &claim,
                Failure::Settings,
                "max-connections = 5: 9 open files are needed, but the hard limit is 8 (LimitNOFILE, ulimit -Hn)",
            ),
            (&panicked, Failure::Run, "the daemon's own task panicked"),
        ] {
            assert_eq!((Failure::of(error), in_one_line(error).as_str()), (failure, line));
        }
    }
}
