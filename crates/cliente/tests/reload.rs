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
fn a_target_dropped_and_put_back_during_a_round_is_up() {
    let ((target, requests), other) = (held(), honest().to_string());
    let target = target.to_string();
    let file =
        |target: &str| format!("target = \"{target}\"\ninterval = \"200ms\"\nreply-timeout = \"1m\"\n");
    let configured = Configured::start(&file(&target));
    let mut under_way = next(&requests);
    configured.reload(&file(&other), "reloaded");
    configured.reload(&file(&target), "reloaded");
    let mut anew = next(&requests);
    anew.say(&anew.right());
    let completed = |count| {
        let lines = configured.daemon.lines_with("round completed");
        lines.iter().filter(|line| line["server"] == *target).count() == count
    };
    wait_until("the new probe's round is over", || completed(1));
    under_way.say(&under_way.right());
    wait_until("the old probe's round is over", || completed(2));
    let up = scrape(configured.daemon.metrics_address()).value("cliente_up", &[("server", &target)]);
    assert!((up - 1.0).abs() < f64::EPSILON, "{up}");
}

/// A daemon whose targets are in a file of their own.
struct Filed {
    daemon: Daemon,
    folder: TempDir,
}

impl Filed {
    fn start(content: &str, connection: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("targets.json");
        fs::write(&file, content).expect("a file");
        let rounds = ["--interval", "200ms", "--reply-timeout", "1m", "--connection", connection];
        let arguments = [&["--target-file", path(&file)], &rounds[..]].concat();
        let daemon = support::daemon(&arguments);
        Self { daemon, folder }
    }

    /// Replaces the file, and waits for `message`.
    fn replace(&self, content: &str, message: &str) -> serde_json::Value {
        let before = self.daemon.lines_with(message).len();
        let new = self.folder.path().join("new.json");
        fs::write(&new, content).expect("a file");
        fs::rename(&new, self.folder.path().join("targets.json")).expect("the same folder");
        wait_until(message, || self.daemon.lines_with(message).len() > before);
        self.daemon.lines_with(message).remove(before)
    }

    fn successful(&self) -> u64 {
        scrape(self.daemon.metrics_address()).count("cliente_config_last_reload_successful", &[])
    }
}

#[test]
fn a_target_file_is_read_again_when_it_changes() {
    let (first, second) = (honest().to_string(), honest().to_string());
    let file = |targets: &str, zone: &str| {
        format!("[{{\"targets\": [{targets}], \"labels\": {{\"zone\": \"{zone}\"}}}}]")
    };
    let filed = Filed::start(&file(&format!("\"{first}\""), "x"), "fresh");
    let metrics = filed.daemon.metrics_address();
    let rounds = |server: &str, zone: &str| {
        scrape(metrics).count("cliente_rounds_total", &[("server", server), ("zone", zone)])
    };
    wait_until("the first target is asked", || rounds(&first, "x") > 0);

    let both = format!("\"{first}\", \"{second}\"");
    assert_eq!(filed.replace(&file(&both, "x"), "reloaded")["changed"], "target-file");
    wait_until("the second target is asked", || rounds(&second, "x") > 0);
    filed.replace(&file(&both, "y"), "reloaded");
    wait_until("rounds are counted under the new label", || rounds(&first, "y") > 0);
    let old = [("server", first.as_str()), ("zone", "x")];
    assert!(scrape(metrics).value("cliente_up", &old).is_nan(), "the old series are left behind");
}

#[test]
fn other_labels_leave_the_connection_of_a_target_alone() {
    let (target, requests) = held();
    let file =
        |zone: &str| format!("[{{\"targets\": [\"{target}\"], \"labels\": {{\"zone\": \"{zone}\"}}}}]");
    let filed = Filed::start(&file("x"), "kept");
    let mut asked = next(&requests);
    filed.replace(&file("y"), "reloaded");
    asked.say(&asked.right());
    let _asked_again = asked.next().expect("the next request on the same connection");
    let metrics = scrape(filed.daemon.metrics_address());
    let target = target.to_string();
    let right = |zone| {
        let labels = [("server", target.as_str()), ("zone", zone)];
        metrics.count("cliente_round_trip_seconds_count", &labels)
    };
    assert_eq!((right("x"), right("y")), (1, 0), "a round counts where it began");
    assert!(requests.try_recv().is_err(), "no other connection was made");
}

#[test]
fn a_bad_target_file_keeps_the_old_targets_until_it_is_good_again() {
    let target = honest().to_string();
    let good = format!("[{{\"targets\": [\"{target}\"]}}]");
    let filed = Filed::start(&good, "fresh");
    wait_for_rounds(&filed.daemon, 1);

    let refused = filed.replace("[{\"targets\":\n [\"nowhere\"]}]", "reload failed");
    let error = refused["error"].as_str().expect("a text");
    assert!(error.contains("targets.json:2:11: \"nowhere\": expected a host and a port"), "{error}");
    assert_eq!(filed.successful(), 0);
    let so_far = filed.daemon.lines_with("round completed").len();
    wait_for_rounds(&filed.daemon, so_far + 2);

    // A reload of all settings reads the same file.
    filed.daemon.signal(Signal::HUP);
    wait_until("it is refused again", || filed.daemon.lines_with("reload failed").len() == 2);
    let other = honest().to_string();
    let reloaded = filed.replace(&format!("[{{\"targets\": [\"{other}\"]}}]"), "reloaded");
    assert_eq!(reloaded["changed"], "target-file");
    assert_eq!(filed.successful(), 1);
    filed.daemon.wait_for_line("the other target", |line| line["server"] == *other);
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
