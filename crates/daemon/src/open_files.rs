//! The limit of open files of this process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to `wanted`, if it is lower.
///
/// # Errors
///
/// If the hard limit is below `wanted`, or the kernel refuses.
pub fn allow_open_files(wanted: u64) -> Result<(), OpenFilesError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(hard) = limit.maximum.filter(|hard| *hard < wanted) {
        return Err(OpenFilesError::HardLimit { wanted, hard });
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| OpenFilesError::Refused { wanted, error: error.into() })
}

/// Raises the soft limit of open files to `most`, if it is lower, or to the hard limit, if that is at least `least`.
///
/// # Errors
///
/// As [`allow_open_files`], for `least`.
pub fn allow_open_files_between(least: u64, most: u64) -> Result<(), OpenFilesError> {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(most);
    allow_open_files(most.min(hard).max(least))
}

/// Why the limit of open files cannot be raised.
#[derive(Debug, thiserror::Error)]
pub enum OpenFilesError {
    /// The hard limit is lower.
    #[error("{wanted} open files are needed, but the hard limit is {hard} (LimitNOFILE, ulimit -Hn)")]
    HardLimit {
        /// How many are needed.
        wanted: u64,
        /// How many the limit allows.
        hard: u64,
    },
    /// The kernel refused.
    #[error("{wanted} open files are needed, but the limit cannot be raised to that")]
    Refused {
        /// How many are needed.
        wanted: u64,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}
