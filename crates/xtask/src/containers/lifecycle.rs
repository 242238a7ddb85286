//! The pair at work, and what happens when one of them, the project or the engine stops, is killed, or restarts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{Metrics, get};

use super::docker::{Engine, docker, inspect, logs};
use super::prometheus::Prometheus;
use super::stack::Stack;
use super::{DAEMONS, check, eventually, eventually_within, same};

/// An alert's `for`, a scrape and an evaluation, and then as long again.
const ALERT_DEADLINE: Duration = Duration::from_mins(4);
const NUMBERS: &str = "cliente_numbers_total";
const FAILURES: &str = "cliente_round_failures_total";

pub(super) fn check_running(stack: &Stack) -> anyhow::Result<()> {
    check("rounds complete, and the host reads both daemons' metrics", || {
        eventually("ten right replies", || Ok(stack.client_count(NUMBERS, &[])? >= 10))?;
        same(stack.client_count(FAILURES, &[])?, 0)?;
        let numbers = Metrics::parse(get(stack.servidor, "/metrics")?).sum("servidor_numbers_total", &[]);
        ensure!(numbers >= 10, "the server has counted {numbers} numbers");
        Ok(())
    })?;
    check("all are confined, healthy, and their logs rotate", || {
        for daemon in DAEMONS {
            is_confined(&stack.container(daemon)?).with_context(|| format!("{daemon} is not confined"))?;
        }
        both_healthy(stack)
    })?;
    check("the logs are a JSON object per line", || {
        let logs = DAEMONS.map(|daemon| logs(&stack.container(daemon)?));
        let logs = logs.into_iter().collect::<anyhow::Result<Vec<String>>>()?.join("\n");
        ensure!(logs.lines().count() > 30, "only {} lines", logs.lines().count());
        for line in logs.lines() {
            let fields: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(fields["message"].is_string() && fields["timestamp"].is_string(), "{line}");
        }
        Ok(())
    })
}

fn is_confined(container: &str) -> anyhow::Result<()> {
    let host: Value = serde_json::from_str(&inspect(container, "{{json .HostConfig}}")?)?;
    same(&host["ReadonlyRootfs"], true)?;
    same(host["CapDrop"][0].as_str(), Some("ALL"))?;
    same(host["SecurityOpt"][0].as_str(), Some("no-new-privileges:true"))?;
    for limit in ["Memory", "PidsLimit"] {
        ensure!(host[limit].as_i64().is_some_and(|limit| limit > 0), "{limit} is {}", host[limit]);
    }
    same(host["LogConfig"]["Config"]["max-size"].as_str(), Some("10m"))
}

fn both_healthy(stack: &Stack) -> anyhow::Result<()> {
    DAEMONS.iter().try_for_each(|daemon| {
        let health = || inspect(&stack.container(daemon)?, "{{.State.Health.Status}}");
        eventually(&format!("{daemon} is healthy"), || Ok(health()? == "healthy"))
    })
}

pub(super) fn check_stop(stack: &Stack, prometheus: &Prometheus) -> anyhow::Result<()> {
    let start = |daemon: &str| {
        docker(&format!("start {}", stack.container(daemon)?))?;
        stack.wait_for_another_round()
    };
    check("docker stop of the server ends it with status 0", || stops(stack, "servidor"))?;
    check("the client counts that as refused, and as nothing else", || {
        let failures = |reason| stack.client_count(FAILURES, &[("reason", reason)]);
        eventually("rounds are refused", || Ok(failures("refused")? > 3))?;
        same(failures("wrong_reply")?, 0)
    })?;
    check("the alert for a dead server fires", || {
        eventually_within(ALERT_DEADLINE, "TargetDown fires", || prometheus.fires("TargetDown", "servidor"))
    })?;
    check("it ends when the server is back, and rounds go on", || {
        start("servidor")?;
        eventually_within(ALERT_DEADLINE, "TargetDown has ended", || {
            Ok(!prometheus.fires("TargetDown", "servidor")?)
        })
    })?;
    check("docker stop of the client ends it with status 0, and a start brings it back", || {
        stops(stack, "cliente")?;
        start("cliente")
    })
}

fn stops(stack: &Stack, daemon: &str) -> anyhow::Result<()> {
    let container = stack.container(daemon)?;
    docker(&format!("stop {container}"))?;
    // One that had to be killed after its grace period would have 137.
    same(inspect(&container, "{{.State.Status}}:{{.State.ExitCode}}")?, "exited:0")
}

pub(super) fn check_restarts(stack: &Stack) -> anyhow::Result<()> {
    let now = || anyhow::Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
    for daemon in DAEMONS {
        let what =
            format!("docker restart of {daemon}, ten times: each ends with status 0, and rounds go on");
        check(&what, || {
            let (container, since) = (stack.container(daemon)?, now()?);
            for _ in 0..10 {
                docker(&format!("restart {container}"))?;
                stack.wait_for_another_round()?;
            }
            let period = format!("--since {since} --until {}", now()?);
            let format = "--filter event=die --format {{.Actor.Attributes.exitCode}}";
            let ends = docker(&format!("events {period} --filter container={container} {format}"))?;
            same(ends, ["0"; 10].join("\n"))
        })?;
    }
    Ok(())
}

pub(super) fn check_project(stack: &Stack, engine: &mut Engine) -> anyhow::Result<()> {
    check("the client asks from within the daemon's own container", || {
        // A busy machine disturbs no round.
        let report = stack
            .compose("exec -T -e CLIENTE_STALL_THRESHOLD=1h cliente cliente --count 5 --interval 100ms")?;
        ensure!(report.contains("5 rounds, 5 right"), "{report}");
        Ok(())
    })?;
    for (service, suffix) in [("", ""), ("servidor", " servidor"), ("cliente", " cliente")] {
        check(&format!("restart{suffix}: both serve, and rounds go on"), || {
            stack.compose(format!("restart {service}").trim_end())?;
            both_serve(stack)
        })?;
    }
    for daemon in DAEMONS {
        check(&format!("{daemon} is killed: it comes back, and rounds go on"), || {
            kill(stack, daemon)?;
            both_serve(stack)
        })?;
    }
    check("the client's counts add up after the server is killed", || counts_add_up(stack))?;
    if engine.is_ours() {
        check("the engine restarts: both come back, and rounds go on", || {
            engine.restart()?;
            both_serve(stack)
        })?;
    }
    check("after all that both are healthy", || both_healthy(stack))
}

/// Waits until both daemons' pages answer from the host, and another round has gone right.
fn both_serve(stack: &Stack) -> anyhow::Result<()> {
    for address in [stack.servidor, stack.cliente] {
        eventually("it is ready", || Ok(get(address, "/-/ready").map(|_| true)?))?;
    }
    stack.wait_for_another_round()
}

/// Kills a container's process, and waits for the next one.
///
/// From outside: what `docker kill` ends counts as stopped by hand, and stays so.
fn kill(stack: &Stack, daemon: &str) -> anyhow::Result<()> {
    let process =
        || anyhow::Ok(Pid::from_raw(inspect(&stack.container(daemon)?, "{{.State.Pid}}")?.parse()?));
    let killed = process()?.context("it does not run")?;
    kill_process(killed, Signal::KILL)?;
    eventually("the restart policy acts", || Ok(process()?.is_some_and(|process| process != killed)))
}

fn counts_add_up(stack: &Stack) -> anyhow::Result<()> {
    let before = stack.client_count(FAILURES, &[])?;
    kill(stack, "servidor")?;
    both_serve(stack)?;
    ensure!(stack.client_count(FAILURES, &[])? > before, "no round failed while there was no server");
    let metrics = Metrics::parse(get(stack.cliente, "/metrics")?);
    let begun = metrics.sum("cliente_rounds_total", &[]);
    let ended = metrics.sum(NUMBERS, &[]) + metrics.sum(FAILURES, &[]);
    ensure!(begun == ended || begun == ended + 1, "{begun} rounds have begun, {ended} have ended");
    Ok(())
}
