//! A wall clock that a test sets, for the daemons that it starts: libfaketime.
//!
//! The clocks that nobody can set go on as they are.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::tool;

/// The clock of those that have its variables.
#[derive(Debug)]
pub struct WallClock {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl WallClock {
    /// One that is right. A test that gets `None` returns.
    pub fn new() -> Option<Self> {
        let faketime = tool("faketime")?;
        let library = Command::new(faketime).args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
        let library = String::from_utf8(library.expect("faketime starts").stdout).expect("a path in UTF-8");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("offset").to_str().expect("a path in UTF-8").to_owned();
        let variables = vec![
            ("LD_PRELOAD", library.trim_end().to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let clock = Self { folder, variables };
        clock.set(0);
        Some(clock)
    }

    /// What a daemon needs to have this clock.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Sets it to so many seconds from the right time.
    pub fn set(&self, seconds: i64) {
        let new: PathBuf = self.folder.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("a new folder");
        fs::rename(new, self.folder.path().join("offset")).expect("a new folder");
    }
}

/// By how many seconds a point in Unix time differs from now.
pub fn seconds_from_now(time: f64) -> f64 {
    time - SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

/// The same for the time of a log line.
pub fn logged_seconds_from_now(line: &Value) -> f64 {
    let timestamp = line["timestamp"].as_str().unwrap_or_else(|| panic!("no timestamp in {line}"));
    let time = humantime::parse_rfc3339(timestamp).unwrap_or_else(|error| panic!("{timestamp}: {error}"));
    seconds_from_now(time.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64())
}
