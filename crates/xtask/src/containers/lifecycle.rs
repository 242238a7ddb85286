//! The pair at work, and what becomes of the one when the other stops, is killed, or restarts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::engine::{docker, logs};
use super::http::{get, sum};
use super::prometheus::Prometheus;
use super::stack::Stack;
use super::{Checks, DEADLINE, wait_for};

pub(super) const DAEMONS: [&str; 2] = ["servidor", "cliente"];
/// An alert's `for`, a scrape and an evaluation, and then as long again.
const ALERT_DEADLINE: Duration = Duration::from_mins(4);

pub(super) fn check_running(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    checks.run("rounds complete, and the host reads both daemons' metrics", || {
        wait_for("ten right replies", DEADLINE, || {
            let enough = stack.client_count("cliente_numbers_total", "")? >= 10;
            Ok(enough.then_some(()))
        })?;
        ensure!(stack.client_count("cliente_round_failures_total", "")? == 0, "rounds failed");
        let numbers = sum(&get(stack.servidor, "/metrics")?, "servidor_numbers_total", "")?;
        ensure!(numbers >= 10, "the server has counted {numbers} numbers");
        Ok(())
    })?;
    checks.run("all are confined, healthy, and their logs rotate", || {
        for daemon in DAEMONS {
            is_confined(&stack.inspect(daemon)?).with_context(|| format!("{daemon} is not confined"))?;
            wait_for_health(stack, daemon)?;
        }
        Ok(())
    })?;
    checks.run("the logs are a JSON object a line", || {
        let logs = DAEMONS.map(|daemon| logs(&stack.container(daemon)?));
        let logs = logs.into_iter().collect::<anyhow::Result<String>>()?;
        let lines: Vec<&str> = logs.lines().collect();
        ensure!(lines.len() > 30, "only {} lines", lines.len());
        for line in lines {
            let fields: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(fields["message"].is_string() && fields["timestamp"].is_string(), "{line}");
        }
        Ok(())
    })
}

fn is_confined(container: &Value) -> anyhow::Result<()> {
    let host = &container["HostConfig"];
    ensure!(host["ReadonlyRootfs"] == true, "it can write to its root");
    ensure!(host["CapDrop"][0] == "ALL", "it keeps capabilities: {}", host["CapDrop"]);
    ensure!(host["SecurityOpt"][0] == "no-new-privileges:true", "{}", host["SecurityOpt"]);
    for limit in ["Memory", "PidsLimit"] {
        ensure!(host[limit].as_i64().is_some_and(|limit| limit > 0), "{limit} is {}", host[limit]);
    }
    ensure!(host["LogConfig"]["Config"]["max-size"] == "10m", "{}", host["LogConfig"]);
    Ok(())
}

pub(super) fn check_stop(checks: &mut Checks, stack: &Stack, prometheus: &Prometheus) -> anyhow::Result<()> {
    checks.run("docker stop of the server ends it with status 0", || stops(stack, "servidor"))?;
    checks.run("the client counts that as refused, and as nothing else", || {
        wait_for("rounds are refused", DEADLINE, || {
            let refused = stack.client_count("cliente_round_failures_total", "reason=\"refused\"")?;
            Ok((refused > 3).then_some(()))
        })?;
        let wrong = stack.client_count("cliente_round_failures_total", "reason=\"wrong_reply\"")?;
        ensure!(wrong == 0, "{wrong} replies were wrong");
        Ok(())
    })?;
    checks.run("the alert for a dead server fires", || {
        wait_for("TargetDown fires", ALERT_DEADLINE, || {
            Ok(prometheus.fires("TargetDown", "servidor")?.then_some(()))
        })
    })?;
    checks.run("it ends when the server is back, and rounds go on", || {
        docker(["start", &stack.container("servidor")?])?;
        stack.wait_for_another_round()?;
        wait_for("TargetDown has ended", ALERT_DEADLINE, || {
            Ok((!prometheus.fires("TargetDown", "servidor")?).then_some(()))
        })
    })?;
    checks.run("docker stop of the client ends it with status 0, and a start brings it back", || {
        stops(stack, "cliente")?;
        docker(["start", &stack.container("cliente")?])?;
        stack.wait_for_another_round()
    })
}

fn stops(stack: &Stack, daemon: &str) -> anyhow::Result<()> {
    docker(["stop", &stack.container(daemon)?])?;
    // One that had to be killed after its grace would have 137.
    let state = &stack.inspect(daemon)?["State"];
    ensure!(state["Status"] == "exited" && state["ExitCode"] == 0, "{state}");
    Ok(())
}

pub(super) fn check_restarts(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    for daemon in DAEMONS {
        checks.run(
            &format!("docker restart of {daemon}, ten times: each ends with status 0, and rounds go on"),
            || {
                let container = stack.container(daemon)?;
                let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64().to_string();
                for _ in 0..10 {
                    docker(["restart", &container])?;
                    stack.wait_for_another_round()?;
                }
                let until = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64().to_string();
                let filter = format!("container={container}");
                let ends = docker([
                    "events",
                    "--since",
                    &since,
                    "--until",
                    &until,
                    "--filter",
                    &filter,
                    "--filter",
                    "event=die",
                    "--format",
                    "{{.Actor.Attributes.exitCode}}",
                ])?;
                ensure!(ends == ["0"; 10].join("\n"), "the statuses were {ends:?}");
                Ok(())
            },
        )?;
    }
    Ok(())
}

pub(super) fn wait_for_health(stack: &Stack, daemon: &str) -> anyhow::Result<()> {
    wait_for("it is healthy", DEADLINE, || {
        let health = stack.inspect(daemon)?["State"]["Health"]["Status"].clone();
        Ok((health == "healthy").then_some(()))
    })
    .with_context(|| daemon.to_owned())
}
