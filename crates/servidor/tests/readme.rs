//! The tables of both READMEs say what the daemon itself says.

use std::process::Command;

use testkit::docs::{READMES, compare_metrics, compare_settings};
use testkit::{Daemon, scrape};

const SERVIDOR: &str = env!("CARGO_BIN_EXE_servidor");

#[test]
fn every_setting_is_in_the_readmes_with_its_default() {
    let output = Command::new(SERVIDOR).arg("--default-config").output().unwrap();
    for readme in READMES {
        compare_settings(readme, "servidor", &String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_metric_is_in_the_readmes_with_its_labels() {
    let servidor = Daemon::start(SERVIDOR, &["--listen", "127.0.0.1:0"]);
    let metrics = scrape(servidor.metrics_address());
    for readme in READMES {
        compare_metrics(readme, "servidor", &metrics);
    }
}
