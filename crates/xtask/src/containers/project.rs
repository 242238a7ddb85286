//! What becomes of the compose project when it, one of its services, one of their processes or the engine restarts.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use super::http::{get, sum};
use super::lifecycle::{DAEMONS, wait_for_health};
use super::stack::Stack;
use super::{Checks, DEADLINE, wait_for};

pub(super) fn check(checks: &mut Checks, stack: &Stack, engine: &mut Engine) -> anyhow::Result<()> {
    checks.run("the client asks from within the daemon's own container", || {
        let asking = ["exec", "-T", "cliente", "cliente", "--count", "5", "--interval", "100ms"];
        let report = stack.compose(&asking)?;
        ensure!(report.contains("5 rounds, 5 right"), "{report}");
        Ok(())
    })?;
    checks.run("restart: both serve, and rounds go on", || {
        stack.compose(&["restart"])?;
        both_serve(stack)
    })?;
    for daemon in DAEMONS {
        checks.run(&format!("restart {daemon}: both serve, and rounds go on"), || {
            stack.compose(&["restart", daemon])?;
            both_serve(stack)
        })?;
    }
    for daemon in DAEMONS {
        checks.run(&format!("{daemon} is killed: it comes back, and rounds go on"), || {
            kill(stack, daemon)?;
            both_serve(stack)
        })?;
    }
    checks.run("the client's counts add up after the server is killed", || counts_add_up(stack))?;
    if engine.is_ours() {
        checks.run("the engine restarts: both come back, and rounds go on", || {
            engine.restart()?;
            both_serve(stack)
        })?;
    } else {
        println!("the engine is not restarted: it was not started here");
    }
    checks.run("after all that both are healthy", || {
        DAEMONS.iter().try_for_each(|daemon| wait_for_health(stack, daemon))
    })
}

/// Waits until both daemons' pages answer from the host, and another round has gone right.
fn both_serve(stack: &Stack) -> anyhow::Result<()> {
    for address in [stack.servidor, stack.cliente] {
        wait_for("it is ready", DEADLINE, || get(address, "/-/ready").map(Some))?;
    }
    stack.wait_for_another_round()
}

/// Kills a container's process and waits for the next one.
///
/// From outside: what `docker kill` ends counts as stopped by hand, and stays so.
fn kill(stack: &Stack, daemon: &str) -> anyhow::Result<()> {
    let process = || {
        let pid = stack.inspect(daemon)?["State"]["Pid"].as_i64().context("no process")?;
        anyhow::Ok(Pid::from_raw(i32::try_from(pid)?))
    };
    let killed = process()?.context("it does not run")?;
    kill_process(killed, Signal::KILL)?;
    wait_for("the restart policy acts", DEADLINE, || {
        Ok(process()?.is_some_and(|pid| pid != killed).then_some(()))
    })
}

fn counts_add_up(stack: &Stack) -> anyhow::Result<()> {
    let failures = || stack.client_count("cliente_round_failures_total", "");
    let before = failures()?;
    kill(stack, "servidor")?;
    both_serve(stack)?;
    ensure!(failures()? > before, "no round failed while there was no server");
    let metrics = get(stack.cliente, "/metrics")?;
    let count = |name| sum(&metrics, name, "");
    let begun = count("cliente_rounds_total")?;
    let ended = count("cliente_numbers_total")? + count("cliente_round_failures_total")?;
    ensure!(begun == ended || begun == ended + 1, "{begun} rounds have begun, {ended} have ended");
    Ok(())
}
