//! The exit statuses, and which failure has which.

use std::fmt::Display;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use crate::listener::BindError;
use crate::logging::is_journal;
use crate::open_files::OpenFilesError;

/// How a run that did not succeed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The run itself failed.
    Run,
    /// An address cannot be bound: `EX_UNAVAILABLE` of sysexits.h.
    Bind,
    /// Settings, flags or files cannot be used: `EX_CONFIG` of sysexits.h.
    Settings,
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

/// Tells on standard error why `program` ends before it logs. If nobody can be told, the exit status says it alone.
pub fn complain(program: &str, problem: impl Display) {
    // The journal would take lines without a priority for news of no importance.
    let priority = if is_journal() { "<3>" } else { "" };
    for line in format!("{program}: {problem}").lines() {
        let _ = writeln!(stderr(), "{priority}{line}");
    }
}

/// The exit status of a run; if it failed, tells the whole chain of the error once, in the log.
pub fn conclude(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    tracing::error!(error = format!("{error:#}"), "failed");
    let failure = if error.is::<BindError>() {
        Failure::Bind
    } else if error.is::<OpenFilesError>() {
        Failure::Settings
    } else {
        Failure::Run
    };
    failure.into()
}
