//! Parses the command line beyond its first error, so that errors of flags do not hide errors of settings.

use std::ffi::OsString;
use std::io::{Write as _, stderr};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

/// The errors of a command line.
#[derive(Debug)]
pub(super) struct Misuse {
    /// In the order in which they were found.
    errors: Vec<clap::Error>,
    /// The command line without the wrong arguments.
    pub(super) rest: Option<ArgMatches>,
}

/// Parses a command line. After an error, removes the wrong argument and goes on.
pub(super) fn parse(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Box<Misuse>> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut errors = Vec::new();
    loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) if errors.is_empty() => return Ok(matches),
            Ok(matches) => return Err(Box::new(Misuse { errors, rest: Some(matches) })),
            Err(error) => {
                // A request for help after an error is ignored.
                let goes_on = error.use_stderr() && remove_culprit(&error, &mut arguments);
                if error.use_stderr() || errors.is_empty() {
                    errors.push(error);
                }
                if !goes_on {
                    return Err(Box::new(Misuse { errors, rest: None }));
                }
            }
        }
    }
}

/// Removes the argument that caused `error`, with its value. Returns whether there was one.
fn remove_culprit(error: &clap::Error, arguments: &mut Vec<OsString>) -> bool {
    let Some(ContextValue::String(culprit)) = error.get(ContextKind::InvalidArg) else { return false };
    // The flag may be followed by a placeholder for its value.
    let culprit = culprit.split(' ').next().unwrap_or_default();
    let is_culprit = |argument: &OsString| {
        argument.to_str().is_some_and(|text| text == culprit || text.split('=').next() == Some(culprit))
    };
    // The first item is the name of the program.
    let Some(index) = arguments.iter().rposition(is_culprit).filter(|index| *index > 0) else { return false };
    let removed = arguments.remove(index);
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    let has_similar = error.get(ContextKind::SuggestedArg).is_some();
    if removed == *culprit
        && culprit.starts_with("--")
        && (has_similar || !is_unknown)
        && arguments.get(index).is_some_and(|next| !next.as_encoded_bytes().starts_with(b"--"))
    {
        arguments.remove(index);
    }
    true
}

impl Misuse {
    /// Whether this is only a request for help or for the version.
    pub(super) fn is_request(&self) -> bool {
        self.errors.iter().all(|error| !error.use_stderr())
    }

    /// Each error in one line.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.errors.iter().map(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    /// Prints all errors, and the usage once.
    pub(super) fn print(&self) {
        if let Some(first) = self.errors.first() {
            // A closed output is no reason to fail.
            let _ = first.print();
        }
        for problem in self.problems().skip(1) {
            let _ = writeln!(stderr(), "{problem}");
        }
    }
}
