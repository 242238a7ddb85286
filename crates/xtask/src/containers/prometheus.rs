//! The rules, the alerts and the dashboard, tested by promtool and by a real Prometheus.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::stack::Stack;
use super::{DEADLINE, check, eventually, eventually_within, same};
use crate::command::{output, sh, workspace};

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
        let mut config = fs::read_to_string(shipped.join("prometheus.yml"))?;
        // The daemons under test have addresses of their own.
        for (shipped, tested) in [
            ("[127.0.0.1:9888]", format!("[\"{}\"]", stack.servidor)),
            ("[127.0.0.1:9889]", format!("[\"{}\"]", stack.cliente)),
            ("- rules/", format!("- {}/", shipped.join("rules").display())),
        ] {
            ensure!(config.matches(shipped).count() == 1, "{shipped} is not in the configuration once");
            config = config.replace(shipped, &tested);
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
        eventually("Prometheus listens", || {
            let text = fs::read_to_string(&log)?;
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.find(|line| line["msg"] == "Listening on");
            let address = line.and_then(|line| line["address"].as_str()?.parse().ok());
            prometheus.address = address.context(text)?;
            Ok(true)
        })?;
        Ok(prometheus)
    }

    /// Whether an alert fires for a job.
    pub(super) fn fires(&self, alert: &str, job: &str) -> anyhow::Result<bool> {
        let firing = self.firing()?;
        Ok(firing.iter().any(|fired| fired["labels"]["alertname"] == alert && fired["labels"]["job"] == job))
    }

    /// The alerts that fire.
    fn firing(&self) -> anyhow::Result<Vec<Value>> {
        let alerts = self.ask("alerts", &[])?["alerts"].take();
        let alerts = alerts.as_array().context("no alerts")?;
        Ok(alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect())
    }

    pub(super) fn check_expressions(&self) -> anyhow::Result<()> {
        check("Prometheus scrapes both for a minute", || {
            eventually_within(3 * DEADLINE, "seven scrapes of both", || {
                self.finds_something("count(count_over_time(up[5m]) >= 7 and up == 1) == 2")
            })
        })?;
        let rules = self.rules()?;
        let what = format!("all {} expressions of the rules return data", rules.len());
        check(&what, || self.all_find_something(&rules))?;
        let panels = dashboard_expressions()?;
        let what = format!("all {} expressions of the dashboard return data", panels.len());
        check(&what, || self.all_find_something(&panels))?;
        check("no alert fires while all is well", || same::<_, [Value; 0]>(self.firing()?, []))
    }

    /// The expressions of all rules, as Prometheus has read them out of the files.
    fn rules(&self) -> anyhow::Result<Vec<String>> {
        let data = self.ask("rules", &[])?;
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
        let data = self.ask("query", &[("query", expression)])?;
        let results = data["result"].as_array().context("no result")?;
        Ok(results.iter().any(|result| result["value"][1].as_str().is_some_and(|value| value != "NaN")))
    }

    fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{what}", self.address);
        let request = minreq::get(url).with_timeout(DEADLINE.as_secs());
        let request =
            parameters.iter().fold(request, |request, (name, value)| request.with_param(name, value));
        let response = request.send()?;
        let mut answer: Value = serde_json::from_slice(response.as_bytes())?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // These fail only if there is nothing left to do.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What promtool says about the files, and about the daemons' metrics.
pub(super) fn check_files(stack: &Stack) -> anyhow::Result<()> {
    let in_folder = |script: &str| output(sh(&format!("cd {FOLDER}; {script}"), &[]));
    for command in ["check config prometheus.yml", "check rules rules/*", "test rules tests/*"] {
        check(&format!("promtool {command}"), || in_folder(&format!("promtool {command}")))?;
    }
    for (name, address) in [("servidor", stack.servidor), ("cliente", stack.cliente)] {
        check(&format!("promtool check metrics has no complaints about {name}"), || {
            testkit::assert_promtool_is_silent(&testkit::scrape(address));
            Ok(())
        })?;
    }
    Ok(())
}

/// An alert's expression finds nothing as long as all is well. So each comparison returns its result instead of filtering by
/// it; and what must not be absent must be there.
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
    fn every_panel_of_the_dashboard_has_a_query() {
        let dashboard: Value =
            serde_json::from_str(&fs::read_to_string(workspace().join(DASHBOARD)).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().map_or(0, Vec::len);
            assert!(targets > 0 || panel["type"] == "row", "{panel}");
        }
        assert!(dashboard_expressions().unwrap().iter().all(|expression| !expression.contains('$')));
    }
}
