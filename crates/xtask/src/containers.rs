//! `cargo xtask test --containers`: the image, the compose file, the alerts, the dashboard and the pages, all tried with
//! a real engine, a real Prometheus and a real browser.
//!
//! What Docker has built is left as cache, as `target/` is; all else that was made is removed, also after a failure.

mod browser;
mod compose;
mod engine;
mod http;
mod image;
mod lifecycle;
mod pages;
mod project;
mod prometheus;
mod stack;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use compose::Compose;
use engine::Engine;
use prometheus::Prometheus;
use stack::Stack;
use testkit::find_program;

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

pub(crate) fn run() -> anyhow::Result<()> {
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    if let Err(error) = check_tools() {
        ensure!(!in_ci, "{error:#}, and CI skips nothing");
        println!("containers are not tried: {error:#}");
        return Ok(());
    }
    let engine = match Engine::find_or_start() {
        Err(error) if !in_ci => {
            println!("containers are not tried: {error:#}");
            return Ok(());
        }
        engine => engine?,
    };
    let mut checks = Checks::default();
    let result = try_all(&mut checks, engine, in_ci);
    println!("\n{} passed, {} failed", checks.passed, u32::from(result.is_err()));
    result
}

fn check_tools() -> anyhow::Result<()> {
    for (tool, package) in TOOLS {
        ensure!(find_program(tool).is_some(), "{tool} is missing (apt-get install {package})");
    }
    // The engine is started, and a container's process killed, from outside.
    ensure!(rustix::process::geteuid().is_root(), "this needs root");
    Ok(())
}

fn try_all(checks: &mut Checks, mut engine: Engine, in_ci: bool) -> anyhow::Result<()> {
    let composes = Compose::installed();
    let [compose, ..] = composes[..] else { bail!("neither docker-compose nor docker compose is installed") };
    ensure!(composes.len() == 2 || !in_ci, "only {} is installed, and CI skips nothing", compose.name());
    ensure!(engine.is_ours() || !in_ci, "an engine runs that was not started here, and CI skips nothing");
    for (index, compose) in composes.into_iter().enumerate() {
        let name = compose.name();
        checks.run(&format!("{name} reads the file and its profile"), || compose.accepts_the_file())?;
        let up = format!("{name} up builds the image and starts both daemons");
        let stack = checks.run(&up, || Stack::up(compose))?;
        if index == 0 {
            try_daemons(checks, &stack)?;
        }
        project::check(checks, &stack, &mut engine)?;
        checks.run(&format!("{name} down leaves nothing behind"), || stack.down())?;
    }
    Ok(())
}

/// What does not depend on who reads the compose file.
fn try_daemons(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    let prometheus =
        checks.run("Prometheus runs with the shipped configuration", || Prometheus::start(stack))?;
    image::check(checks, stack)?;
    lifecycle::check_running(checks, stack)?;
    pages::check(checks, stack)?;
    prometheus::check_files(checks, stack)?;
    prometheus.check_expressions(checks)?;
    lifecycle::check_stop(checks, stack, &prometheus)?;
    lifecycle::check_restarts(checks, stack)
}

/// Runs checks and tells of each in one line.
#[derive(Default)]
struct Checks {
    passed: u32,
}

impl Checks {
    fn run<T>(&mut self, what: &str, check: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let result = check();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{word:<7}{what} ({:.1} s)", begun.elapsed().as_secs_f64());
        self.passed += u32::from(result.is_ok());
        result.with_context(|| format!("not so: {what}"))
    }
}

/// Asks again and again until there is an answer: for what announces itself by no event that could be awaited.
///
/// An error of `ask` is as good as no answer, and is told if none comes.
fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if begun.elapsed() > deadline {
            match answer {
                Err(error) => return Err(error.context(format!("not within {deadline:?}: {what}"))),
                Ok(_) => bail!("not within {deadline:?}: {what}"),
            }
        }
        #[expect(clippy::disallowed_methods, reason = "the one place where these checks poll")]
        std::thread::sleep(Duration::from_millis(200));
    }
}
