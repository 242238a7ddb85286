//! A real Prometheus with the shipped configuration: whether it takes it, and whether every expression finds something.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::engine::output_of;
use super::http::{get, percent_encoded};
use super::stack::Stack;
use super::{Checks, DEADLINE, wait_for};
use crate::command::workspace;

const FOLDER: &str = "deploy/prometheus";
const DASHBOARD: &str = "deploy/grafana/dashboards/canary.json";
/// What Grafana puts in place of its own variables, where everything is selected.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "40s"), ("$canary", ".*"), ("$job", ".*"), ("$instance", ".*")];

/// Prometheus, running. It ends, and its data goes, when this is dropped.
pub(super) struct Prometheus {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Prometheus {
    pub(super) fn start(stack: &Stack) -> anyhow::Result<Self> {
        let shipped = workspace().join(FOLDER);
        let folder = std::env::temp_dir().join(format!("canary-prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // The daemons under test have addresses of their own.
        let mut config = fs::read_to_string(shipped.join("prometheus.yml"))?;
        let rules = shipped.join("rules").display().to_string();
        for (inside, outside) in [
            ("[127.0.0.1:9888]", format!("[\"{}\"]", stack.servidor)),
            ("[127.0.0.1:9889]", format!("[\"{}\"]", stack.cliente)),
            ("- rules/", format!("- {rules}/")),
        ] {
            ensure!(config.matches(inside).count() == 1, "{inside} is not in the configuration once");
            config = config.replace(inside, &outside);
        }
        fs::write(folder.join("prometheus.yml"), config)?;
        let log = folder.join("log");
        let process = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.format=json"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start prometheus")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut prometheus = Self { process, folder, address };
        prometheus.address = wait_for("Prometheus listens", DEADLINE, || {
            let text = fs::read_to_string(&log)?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.into_iter().find(|line| line["msg"] == "Listening on");
            line.and_then(|line| line["address"].as_str()?.parse().ok()).map(Some).context(text)
        })?;
        Ok(prometheus)
    }

    /// Whether an alert fires for a job.
    pub(super) fn fires(&self, alert: &str, job: &str) -> anyhow::Result<bool> {
        let data = self.ask("alerts")?;
        let alerts = data["alerts"].as_array().context("no alerts")?;
        Ok(alerts.iter().any(|fired| {
            let labels = &fired["labels"];
            labels["alertname"] == alert && labels["job"] == job && fired["state"] == "firing"
        }))
    }

    pub(super) fn check_expressions(&self, checks: &mut Checks) -> anyhow::Result<()> {
        checks.run("Prometheus scrapes both for a minute", || {
            wait_for("seven scrapes of both", 3 * DEADLINE, || {
                let complete = "count(count_over_time(up[5m]) >= 7 and up == 1) == 2";
                Ok(self.finds_something(complete)?.then_some(()))
            })
        })?;
        let rules = self.rules()?;
        let what = format!("all {} expressions of the rules return data", rules.len());
        checks.run(&what, || self.all_find_something(&rules))?;
        let panels = dashboard_expressions()?;
        let what = format!("all {} expressions of the dashboard return data", panels.len());
        checks.run(&what, || self.all_find_something(&panels))?;
        checks.run("no alert fires while all is well", || {
            let data = self.ask("alerts")?;
            let firing = |alert: &&Value| alert["state"] == "firing";
            let alerts: Vec<&Value> =
                data["alerts"].as_array().into_iter().flatten().filter(firing).collect();
            ensure!(alerts.is_empty(), "{alerts:?}");
            Ok(())
        })
    }

    /// The expressions of all rules, as Prometheus has read them out of the files.
    fn rules(&self) -> anyhow::Result<Vec<String>> {
        let data = self.ask("rules")?;
        let groups = data["groups"].as_array().context("no rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let expressions = rules.filter_map(|rule| {
            let query = rule["query"].as_str()?;
            Some(if rule["type"] == "alerting" { without_threshold(query) } else { query.to_owned() })
        });
        Ok(expressions.collect())
    }

    fn all_find_something(&self, expressions: &[String]) -> anyhow::Result<()> {
        ensure!(!expressions.is_empty(), "there are none");
        let mut empty = Vec::new();
        for expression in expressions {
            if !self.finds_something(expression).with_context(|| expression.clone())? {
                empty.push(expression);
            }
        }
        ensure!(empty.is_empty(), "these return nothing: {empty:#?}");
        Ok(())
    }

    /// Whether there is a number among the results.
    fn finds_something(&self, expression: &str) -> anyhow::Result<bool> {
        let data = self.ask(&format!("query?query={}", percent_encoded(expression)))?;
        let results = data["result"].as_array().context("no result")?;
        Ok(results.iter().any(|result| result["value"][1].as_str().is_some_and(|value| value != "NaN")))
    }

    fn ask(&self, what: &str) -> anyhow::Result<Value> {
        let mut answer: Value = serde_json::from_str(&get(self.address, &format!("/api/v1/{what}"))?)?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // All of these fail only if there is nothing left to do.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What promtool says to the files, and to what the daemons show.
pub(super) fn check_files(checks: &mut Checks, stack: &Stack) -> anyhow::Result<()> {
    let promtool = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        // For the shell to list the files.
        command.args(["-c", &format!("promtool {}", arguments.join(" "))]);
        command.current_dir(workspace().join(FOLDER));
        output_of(command)
    };
    for arguments in
        [["check", "config", "prometheus.yml"], ["check", "rules", "rules/*"], ["test", "rules", "tests/*"]]
    {
        checks.run(&format!("promtool {}", arguments.join(" ")), || promtool(&arguments))?;
    }
    for (name, address) in [("servidor", stack.servidor), ("cliente", stack.cliente)] {
        checks.run(&format!("promtool check metrics has nothing to say of {name}"), || {
            let metrics = std::env::temp_dir().join(format!("canary-metrics-{}", std::process::id()));
            fs::write(&metrics, get(address, "/metrics")?)?;
            let said = promtool(&["check", "metrics", "<", &metrics.display().to_string(), "2>&1"]);
            fs::remove_file(&metrics)?;
            let said = said?;
            ensure!(said.is_empty(), "{said}");
            Ok(())
        })?;
    }
    Ok(())
}

/// An alert's expression finds nothing as long as all is well. So each comparison tells its result in place of
/// filtering by it; and what must not be absent must be there.
fn without_threshold(query: &str) -> String {
    if let Some(inner) = query.strip_prefix("absent(").and_then(|rest| rest.strip_suffix(')')) {
        return inner.to_owned();
    }
    [" == ", " >= ", " > "]
        .iter()
        .fold(query.to_owned(), |query, operator| query.replace(operator, &format!("{operator}bool ")))
}

/// All expressions of panels, variables and annotations.
fn dashboard_expressions() -> anyhow::Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(workspace().join(DASHBOARD))?)?;
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    let substituted = found
        .into_iter()
        .map(|expression| VARIABLES.iter().fold(expression, |text, (name, value)| text.replace(name, value)));
    Ok(substituted.collect())
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            let definition = fields.get("definition").and_then(Value::as_str);
            let inner = definition.and_then(|text| text.strip_prefix("label_values(")?.rsplit_once(','));
            found.extend(inner.map(|(selector, _)| selector.to_owned()));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_without_its_threshold_shows_what_it_compares() {
        assert_eq!(without_threshold("absent(up{job=\"servidor\"})"), "up{job=\"servidor\"}");
        assert_eq!(without_threshold("a >= 1 and b == 0"), "a >= bool 1 and b == bool 0");
    }

    #[test]
    fn every_panel_of_the_dashboard_asks_something() {
        let dashboard: Value =
            serde_json::from_str(&fs::read_to_string(workspace().join(DASHBOARD)).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().map_or(0, Vec::len);
            assert!(targets > 0 || panel["type"] == "row", "{panel}");
        }
        assert!(dashboard_expressions().unwrap().iter().all(|expression| !expression.contains('$')));
    }
}
