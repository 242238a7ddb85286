//! The tables of both READMEs say what the daemon itself says.

use std::process::Command;

use testkit::papers::{READMES, compare_metrics, compare_settings};
use testkit::{Daemon, scrape};

const CLIENTE: &str = env!("CARGO_BIN_EXE_cliente");

#[test]
fn every_setting_is_in_the_readmes_with_its_default() {
    let output = Command::new(CLIENTE).arg("--default-config").output().unwrap();
    for readme in READMES {
        compare_settings(readme, "cliente", &String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_metric_is_in_the_readmes_with_its_labels() {
    let cliente = Daemon::start(CLIENTE, &["--target", "127.0.0.1:1"]);
    cliente.wait_for("round failed");
    let metrics = scrape(cliente.metrics_address());
    for readme in READMES {
        compare_metrics(readme, "cliente", &metrics);
    }
}
