//! `cliente bench` on a host with few local ports.

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::CLIENTE;
use support::network::on_network;

/// Addresses of two hosts: on 127.0.0.1 the kernel uses ports again that it would not for another host.
const HOSTS: &str =
    "ip link set lo up\nip address add 192.0.2.1/32 dev lo\nip address add 192.0.2.2/32 dev lo";

fn with_ports(range: &str) -> String {
    format!("{HOSTS}\necho {range} > /proc/sys/net/ipv4/ip_local_port_range")
}

fn bench(arguments: &[&str]) -> (Output, Value) {
    let allowed = ["--allow", "192.0.2.0/24", "--max-connections", "100"];
    let target = support::servidor::serve("192.0.2.2", &allowed).0.to_string();
    let mut command = Command::new(CLIENTE);
    command.args(["bench", "--json", "--target", &target, "--warmup", "0s"]).args(arguments);
    let output = command.env_clear().stdin(Stdio::null()).output().expect("it starts");
    let report = serde_json::from_slice(&output.stdout).expect("one JSON value");
    (output, report)
}

#[test]
fn fresh_connections_leave_no_ports_taken() {
    on_network(&with_ports("40000 40099"), || {
        let (output, report) = bench(&["--connection", "fresh", "--connections", "4", "-n", "500"]);
        assert_eq!(report["right"], 500, "{report:#}");
        assert_eq!(output.status.code(), Some(0), "{report:#}");
    });
}

#[test]
fn a_host_without_a_free_port_is_named() {
    on_network(&with_ports("40000 40019"), || {
        let (output, report) = bench(&["--connections", "50", "--duration", "200ms"]);
        assert_eq!(output.status.code(), Some(1));
        let without_port = report["connections_without_port"].as_u64().expect("a count");
        assert!(without_port >= 30, "{report:#}");
        assert!(report["right"].as_u64().is_some_and(|right| right > 0), "the others are asked: {report:#}");
        let warning = report["warnings"][0].as_str().expect("a warning");
        for part in ["the host ran out of ports", "EADDRNOTAVAIL", "net.ipv4.ip_local_port_range"] {
            assert!(warning.contains(part), "{part}: {warning}");
        }
    });
}
