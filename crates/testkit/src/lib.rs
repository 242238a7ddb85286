//! Starts the real daemons in tests, talks to them, and reads their logs and metrics; never shipped.
//!
//! Whatever goes wrong here is a failed test, so everything panics, with what it had seen by then.
#![expect(clippy::missing_panics_doc, reason = "a failed test is a panic")]

pub mod cgroup;
mod daemon;
pub mod dns;
pub mod docs;
pub mod hostile;
mod http;
mod namespace;
mod peer;
mod queues;
mod service_manager;
mod stall;
mod terminal;
mod tracer;
mod unheard;
mod wall_clock;

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use daemon::{Daemon, send_signal, wait_for_exit};
pub use http::{Metrics, Response, get, request, request_for, scrape, scrape_until};
pub use namespace::Namespace;
pub use peer::Peer;
pub use rustix::process::Signal;
pub use service_manager::ServiceManager;
pub use stall::Stall;
pub use terminal::{on_terminal, terminal};
pub use tracer::{Tracer, assert_http_side_recovers};
pub use unheard::{SmallDisk, Unheard};
pub use wall_clock::{WallClock, logged_seconds_from_now, seconds_from_now};

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

/// Waits until `time` has passed since `start`. Only for tests of what the passing of time itself does, such as a
/// deadline; what can be awaited has [`wait_until`].
pub fn let_pass(start: Instant, time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "what is awaited is the time")]
    std::thread::sleep(time.saturating_sub(start.elapsed()));
}

/// Runs tests that mostly wait, all at the same time. Each is a thread of its name.
pub fn side_by_side(tests: &[(&str, fn())]) {
    std::thread::scope(|scope| {
        let start = |&(name, test): &(&str, fn())| {
            let builder = std::thread::Builder::new().name(name.to_owned());
            builder.spawn_scoped(scope, test).expect("room for a thread")
        };
        let running: Vec<_> = tests.iter().map(start).collect();
        let failed = running
            .into_iter()
            .zip(tests)
            .filter_map(|(thread, (name, _))| thread.join().err().map(|_| *name));
        let failed: Vec<&str> = failed.collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}

/// Lets this process, and the daemons that it starts from now on, open as many files as it may at most.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may be as high as the hard one");
}

/// Says in one line that a test is skipped, and why.
///
/// Nothing may be skipped where `CI=true`.
pub fn skip(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{reason}, and CI=true allows no skipping");
    eprintln!("skipped: {reason}");
}

/// Where a program is in `PATH`, if it is.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// Finds a program that a test needs. A test that gets `None` returns: the line that says so is printed here.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = find_program(name);
    if found.is_none() {
        skip(&format!("{name} not found"));
    }
    found
}

/// Asserts that `promtool check metrics` has no complaints about what was scraped.
pub fn assert_promtool_is_silent(metrics: &Metrics) {
    let Some(promtool) = tool("promtool") else { return };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    check.stdin.take().expect("piped").write_all(metrics.text.as_bytes()).expect("promtool reads");
    let output = check.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{}", metrics.text);
}
