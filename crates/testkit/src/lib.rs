//! Starts the real daemons in tests, talks to them, and reads their logs and metrics; never shipped.
//!
//! Whatever goes wrong here is a failed test, so everything panics, and says what it had seen by then.
#![expect(clippy::missing_panics_doc, reason = "a failed test is a panic")]

mod daemon;
mod http;
pub mod papers;
mod peer;
mod terminal;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use daemon::{Daemon, send_signal, wait_for_exit};
pub use http::{Metrics, Response, request, scrape, scrape_until};
pub use peer::Peer;
pub use rustix::process::Signal;
pub use terminal::terminal;

/// How long anything that must happen may take: long enough for a machine that is busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what announces itself by no event that a test could await.
pub fn wait_until(description: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {description}");
        #[expect(clippy::disallowed_methods, reason = "the one place where tests poll")]
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Finds a program that a test needs. A test that gets `None` returns: the line that says so is printed here.
///
/// Nothing may be skipped where `CI=true`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(env::var("CI").as_deref() != Ok("true"), "{name} not found, and CI=true allows no skipping");
        eprintln!("skipped: {name} not found");
    }
    found
}
