//! The HTTP side answers requests for this host only: a foreign web page must not read it through a browser.

mod common;

use std::fs;

use common::start;
use testkit::{Daemon, Signal, request_for, wait_until};

const PATHS: [&str; 4] = ["/", "/metrics", "/-/healthy", "/-/ready"];

fn status(daemon: &Daemon, host: Option<&str>, path: &str) -> u16 {
    request_for(daemon.metrics_address(), host, "GET", path).status
}

#[test]
fn names_of_this_host_are_answered() {
    let daemon = start(&[]);
    let name = rustix::system::uname().nodename().to_str().expect("a name in UTF-8").to_owned();
    wait_until("it is ready", || status(&daemon, None, "/-/ready") == 200);
    for host in [
        "127.0.0.1",
        "127.0.0.1:9888",
        "192.0.2.1",
        "[::1]",
        "[::1]:9888",
        "localhost",
        "localhost:1",
        "LocalHost.",
        "",
        &name,
        &name.to_uppercase(),
    ] {
        for path in PATHS {
            assert_eq!(status(&daemon, Some(host), path), 200, "{host} {path}");
        }
    }
}

#[test]
fn other_names_are_not_answered_on_loopback() {
    let daemon = start(&[]);
    for host in [
        "attacker.example",
        "attacker.example:9888",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
        "127.0.0.1@attacker.example",
        "not a name",
    ] {
        for path in PATHS.into_iter().chain(["/no/such/path"]) {
            let refused = request_for(daemon.metrics_address(), Some(host), "GET", path);
            assert_eq!(refused.status, 421, "{host} {path}");
            assert!(refused.body.contains("metrics-hosts"), "{}", refused.body);
        }
    }
    let absolute = status(&daemon, Some("localhost"), "http://attacker.example/metrics");
    assert_eq!(absolute, 421, "the name in the request line counts too");
}

#[test]
fn a_reload_changes_which_names_are_answered() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let daemon = start(&["--config", file.path().to_str().expect("a path in UTF-8")]);
    assert_eq!(status(&daemon, Some("canary.example"), "/metrics"), 421);
    fs::write(&file, "metrics-hosts = [\"Canary.example.\", \"other.example\"]\n")
        .expect("the file can be written");
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.wait_for("reloaded")["changed"], "metrics-hosts");
    assert_eq!(status(&daemon, Some("canary.example:9888"), "/metrics"), 200);
    assert_eq!(status(&daemon, Some("localhost"), "/metrics"), 200);
    assert_eq!(status(&daemon, Some("attacker.example"), "/metrics"), 421);
}
