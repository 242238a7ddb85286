//! Rounds against a server of the original kind: no line ends, one request a connection, one connection at a time.

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use support::wait_for_rounds;
use testkit::{scrape, tool};

/// The server's process; killed at the end of the test.
struct Original {
    process: Child,
    address: String,
}

impl Original {
    fn start() -> Option<Self> {
        let mut process = Command::new(tool("python3")?)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original_server.py"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut port = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut port).expect("its port");
        let address = format!("127.0.0.1:{}", port.trim());
        Some(Self { process, address })
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("a child");
    }
}

fn all_classes_are_right(connection: &str) {
    let Some(server) = Original::start() else { return };
    let daemon = support::daemon(&[
        "--target",
        &server.address,
        "--connection",
        connection,
        "--interval",
        "5ms",
        "--log-events-per-second",
        "1000",
    ]);
    let classes = ["large", "even", "odd"];
    // Each occurs in a sixth of the rounds or more.
    for class in classes {
        daemon.wait_for_line(class, |line| line["class"] == class);
    }
    let longest = daemon.wait_for_line("a number of 30 digits", |line| line["digits"] == 30);
    assert_eq!(longest["reply"], longest["number"]);
    let rounds = wait_for_rounds(&daemon, 50);
    let numbers: HashSet<_> = rounds.iter().map(|line| line["number"].to_string()).collect();
    assert!(numbers.len() > 25, "they are drawn at random: {numbers:?}");
    assert!(rounds.iter().all(|line| line["connect_us"].is_u64()), "this server keeps no connection");
    assert_eq!(daemon.lines_with("round failed"), Vec::<serde_json::Value>::new());
    let metrics = scrape(daemon.metrics_address());
    for class in classes {
        assert!(metrics.count("cliente_numbers_total", &[("server", &server.address), ("class", class)]) > 0);
    }
}

#[test]
fn fresh_connections() {
    all_classes_are_right("fresh");
}

#[test]
fn kept_connections() {
    all_classes_are_right("kept");
}
