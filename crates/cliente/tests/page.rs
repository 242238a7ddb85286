//! The page of the real daemon.

mod support;

use std::fs;

use support::{CLIENTE, UNDISTURBED, honest, serve};
use tempfile::TempDir;
use testkit::{Daemon, Signal, request, wait_until};

fn page(daemon: &Daemon) -> String {
    request(daemon.metrics_address(), "GET", "/").body
}

fn title(page: &str) -> &str {
    page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).expect(page).0
}

#[test]
fn the_worst_target_is_the_first_line_and_this_host_the_last() {
    let (right, closing) = (honest().to_string(), serve(drop).to_string());
    let targets = format!("{right},{closing}");
    let daemon = support::daemon(&["--target", &targets, "--interval", "100ms"]);
    let mut html = String::new();
    wait_until("both targets and this host are measured", || {
        html = page(&daemon);
        title(&html) == "1 of 2 failing – cliente" && html.contains("this host itself")
    });
    let row = |text: &str| html.find(text).expect(&html);
    assert!(row(&format!("</i>{closing}</th>")) < row(&format!("</i>{right}</th>")), "{html}");
    assert!(row(&format!("</i>{right}</th>")) < row("this host itself"), "{html}");
    assert!(html.contains(": closed, never right</td>"), "{html}");
    assert!(html.contains(r#"<p class="state bad">1 of 2 failing</p>"#), "{html}");
}

#[test]
fn a_target_that_is_no_longer_asked_is_no_longer_shown() {
    let (right, closing) = (honest().to_string(), serve(drop).to_string());
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("cliente.toml");
    let write = |targets: &[&str]| {
        fs::write(&file, format!("target = {targets:?}\ninterval = \"100ms\"\n")).expect("a file");
    };
    write(&[&right, &closing]);
    let arguments = ["--config", file.to_str().expect("UTF-8")];
    let daemon = Daemon::start_with(CLIENTE, &arguments, &[UNDISTURBED]);
    wait_until("one fails", || title(&page(&daemon)) == "1 of 2 failing – cliente");
    write(&[&right]);
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded");
    let mut html = String::new();
    wait_until("the other one is left", || {
        html = page(&daemon);
        title(&html) == "right – cliente"
    });
    assert!(!html.contains(&format!("</i>{closing}</th>")), "{html}");
}
