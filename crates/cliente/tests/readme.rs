//! The tables of both READMEs say what the daemon itself says.

use std::net::TcpListener;
use std::process::Command;

use testkit::docs::{READMES, compare_metrics, compare_settings};
use testkit::{Daemon, request, scrape, wait_until};

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
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cliente = Daemon::start(CLIENTE, &["--target", &silent.local_addr().unwrap().to_string()]);
    let ready = || request(cliente.metrics_address(), "GET", "/-/ready").status == 200;
    wait_until("the first round has begun", ready);
    let metrics = scrape(cliente.metrics_address());
    for readme in READMES {
        compare_metrics(readme, "cliente", &metrics);
    }
}
