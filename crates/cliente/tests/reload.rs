//! SIGHUP: what can change while running does, and wrong settings change nothing.

mod support;

use std::fs;
use std::path::Path;

use support::{held, honest, next, wait_for_rounds};
use tempfile::TempDir;
use testkit::{Daemon, Signal, scrape, wait_until};

/// A daemon and its file.
struct Configured {
    daemon: Daemon,
    folder: TempDir,
}

impl Configured {
    fn start(settings: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("cliente.toml");
        fs::write(&file, settings).expect("a file");
        let daemon = support::daemon(&["--config", path(&file)]);
        Self { daemon, folder }
    }

    /// Has other settings read; returns when they have been, as `message` says.
    fn reload(&self, settings: &str, message: &str) -> serde_json::Value {
        let before = self.daemon.lines_with(message).len();
        fs::write(self.folder.path().join("cliente.toml"), settings).expect("a file");
        self.daemon.signal(Signal::HUP);
        wait_until(message, || self.daemon.lines_with(message).len() > before);
        self.daemon.lines_with(message).remove(before)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn targets_come_and_go() {
    let (first, second) = (honest().to_string(), honest().to_string());
    let file = |target: &str| format!("target = [\"{target}\"]\ninterval = \"200ms\"\n");
    let configured = Configured::start(&file(&first));
    configured.daemon.wait_for_line("the first target", |line| line["server"] == *first);
    let metrics = configured.daemon.metrics_address();
    assert!((scrape(metrics).value("cliente_up", &[("server", &first)]) - 1.0).abs() < f64::EPSILON);

    let reloaded = configured.reload(&file(&second), "reloaded");
    assert_eq!(reloaded["changed"], "target");
    configured.daemon.wait_for_line("the second target", |line| line["server"] == *second);
    wait_until("the first target is given up", || {
        scrape(metrics).value("cliente_up", &[("server", &first)]).is_nan()
    });

    let rounds = |server: &str| scrape(metrics).count("cliente_rounds_total", &[("server", server)]);
    let before = rounds(&first);
    configured.reload(&file(&first), "reloaded");
    wait_until("the first target is probed again", || rounds(&first) > before);
    wait_until("the second target is given up", || {
        scrape(metrics).value("cliente_up", &[("server", &second)]).is_nan()
    });
}

#[test]
fn another_interval_begins_at_once_and_a_wrong_file_changes_nothing() {
    let target = honest().to_string();
    let file = |interval: &str| format!("target = \"{target}\"\ninterval = \"{interval}\"\n");
    let configured = Configured::start(&file("1h"));
    wait_for_rounds(&configured.daemon, 1);
    configured.reload(&file("20ms"), "reloaded");
    wait_for_rounds(&configured.daemon, 5);

    let failed = configured.reload(&file("0s"), "reload failed");
    assert_eq!(failed["level"], "ERROR");
    let error = failed["error"].as_str().expect("a text");
    assert!(error.contains("cliente.toml:2:12: interval = \"0s\": expected a duration"), "{error}");
    let metrics = configured.daemon.metrics_address();
    assert_eq!(scrape(metrics).count("cliente_config_last_reload_successful", &[]), 0);
    let so_far = configured.daemon.lines_with("round completed").len();
    wait_for_rounds(&configured.daemon, so_far + 5);

    configured.reload(&file("1h"), "reloaded");
    assert_eq!(scrape(metrics).count("cliente_config_last_reload_successful", &[]), 1);
}

#[test]
fn timeouts_and_the_kind_of_connection_apply_to_the_next_round() {
    let (target, requests) = held();
    let file = |reply_timeout: &str, connection: &str| {
        format!(
            "target = \"{target}\"\ninterval = \"20ms\"\n\
             reply-timeout = \"{reply_timeout}\"\nconnection = \"{connection}\"\n"
        )
    };
    let configured = Configured::start(&file("50ms", "fresh"));
    let error = |text| move |line: &serde_json::Value| line["error"] == text;
    configured.daemon.wait_for_line("the first time-out", error("no whole reply within 50ms"));
    let reloaded = configured.reload(&file("60ms", "fresh"), "reloaded");
    assert_eq!(reloaded["changed"], "reply-timeout");
    configured.daemon.wait_for_line("the second time-out", error("no whole reply within 60ms"));

    configured.reload(&file("1h", "kept"), "reloaded");
    // Requests from before have been given up meanwhile; the first that stands is on the connection to be kept.
    let kept = loop {
        let mut asked = next(&requests);
        let reply = asked.right();
        if asked.try_say(&reply)
            && let Some(asked) = asked.next()
        {
            break asked;
        }
    };
    drop(kept);
}

#[test]
fn what_needs_a_restart_is_named() {
    let target = honest().to_string();
    let configured = Configured::start(&format!("target = \"{target}\"\n"));
    configured.daemon.wait_for("round completed");
    configured.reload(&format!("target = \"{target}\"\nworker-threads = 2\n"), "reloaded");
    let warning = configured.daemon.wait_for("setting needs a restart");
    assert_eq!((&warning["level"], &warning["setting"]), (&"WARN".into(), &"worker-threads".into()));
}
