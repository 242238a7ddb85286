//! `cargo xtask test --containers`: tests the image, the compose file, the alerts, the dashboard and the pages with a real
//! engine, a real Prometheus and a real browser.
//!
//! What Docker has built is left as cache; all else that was made is removed, also after a failure.

mod browser;
mod docker;
mod image;
mod lifecycle;
mod pages;
mod prometheus;
mod stack;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::command::{missing, skip};
use docker::Engine;
use prometheus::Prometheus;
use stack::{Compose, Stack};

/// Programs, and the Debian package of each.
const TOOLS: [(&str, &str); 5] = [
    ("docker", "docker.io"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("chromium", "chromium"),
    ("base64", "coreutils"),
];
/// For whatever must happen: enough for a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(1);
const DAEMONS: [&str; 2] = ["servidor", "cliente"];

static PASSED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn run() -> anyhow::Result<()> {
    if let Some(reason) = missing(&TOOLS) {
        return skip(&reason);
    }
    let engine = match Engine::find_or_start() {
        Err(error) => return skip(&format!("{error:#}")),
        Ok(engine) => engine,
    };
    let result = check_all(engine);
    println!("\n{} passed, {} failed", PASSED.load(Ordering::Relaxed), u32::from(result.is_err()));
    result
}

fn check_all(mut engine: Engine) -> anyhow::Result<()> {
    let composes = Compose::installed();
    let [first, ..] = composes[..] else { bail!("neither docker-compose nor docker compose is installed") };
    if composes.len() < 2 {
        skip(&format!("only {} is installed, not both composes", first.0))?;
    }
    if !engine.is_ours() {
        skip("the restart of the engine, which was not started here")?;
    }
    for compose in composes {
        let name = compose.0;
        check(&format!("{name} reads the file and its profile"), || compose.accepts_the_file())?;
        let up = format!("{name} up builds the image and starts both daemons");
        let stack = check(&up, || Stack::up(compose))?;
        if compose == first {
            check_daemons(&stack)?;
        }
        lifecycle::check_project(&stack, &mut engine)?;
        check(&format!("{name} down leaves nothing behind"), || stack.down())?;
    }
    Ok(())
}

/// What does not depend on who reads the compose file.
fn check_daemons(stack: &Stack) -> anyhow::Result<()> {
    let prometheus = check("Prometheus runs with the shipped configuration", || Prometheus::start(stack))?;
    image::check_image(stack)?;
    lifecycle::check_running(stack)?;
    pages::check_pages(stack)?;
    prometheus::check_files(stack)?;
    prometheus.check_expressions()?;
    lifecycle::check_stop(stack, &prometheus)?;
    lifecycle::check_restarts(stack)
}

/// Runs a check, and reports it in one line.
fn check<T>(what: &str, check: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    let result = check();
    let word = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{word:<7}{what} ({:.1} s)", begun.elapsed().as_secs_f64());
    PASSED.fetch_add(u32::from(result.is_ok()), Ordering::Relaxed);
    result.with_context(|| format!("not so: {what}"))
}

/// Waits for what gives no other sign than being so. An error may pass as well; if it does not, it is reported.
fn eventually(what: &str, is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    eventually_within(DEADLINE, what, is_so)
}

fn eventually_within(
    deadline: Duration,
    what: &str,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let answer = is_so();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > deadline {
            answer.with_context(|| format!("not within {deadline:?}: {what}"))?;
            bail!("not within {deadline:?}: {what}");
        }
        #[expect(clippy::disallowed_methods, reason = "the one place where these checks poll")]
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Fails with what was found, if that is not what was expected.
#[expect(clippy::needless_pass_by_value, reason = "most callers have a value that is compared only here")]
fn same<F: PartialEq<E> + Debug, E: Debug>(found: F, expected: E) -> anyhow::Result<()> {
    ensure!(found == expected, "found {found:?}, expected {expected:?}");
    Ok(())
}
