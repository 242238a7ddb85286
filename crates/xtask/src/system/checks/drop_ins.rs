//! The drop-ins that the README and the man pages show, each tried as it stands there.

use std::net::TcpStream;
use std::time::Duration;

use super::support::{ask, edit, metrics, undo};
use crate::readme::{self, Shown};
use crate::system::machine::{Machine, await_that};

pub(super) fn all(machine: &Machine) -> String {
    // Two more addresses of this host play the network.
    machine.sh("ip address replace 192.0.2.1/24 dev lo; ip address replace 192.0.2.10/24 dev lo");
    let section = readme::section("README.md", "systemd").expect("the README has the section");
    let shown = readme::shown_files(&section);
    let files = |case: &str| {
        let files: Vec<&Shown> = shown.iter().filter(|file| file.case == case).collect();
        assert!(!files.is_empty(), "the README shows no file under {case}");
        files
    };

    apply(machine, &files("Move the port"));
    assert!(connects(machine, "127.0.0.1:7777") && !connects(machine, "127.0.0.1:8888"));
    await_up(machine, "127.0.0.1:7777");
    undo(machine);

    assert!(!connects(machine, "192.0.2.10:8888") && !connects(machine, "192.0.2.10:9888"));
    let network = files("Open to a network");
    apply(machine, &network);
    let answer = machine.on_network(|| ask("192.0.2.10:8888", "3\n"));
    assert_eq!(answer.expect("the network is let in"), "ÍMPAR\n");
    let health = machine.on_network(|| testkit::request(([192, 0, 2, 10], 9888).into(), "GET", "/-/ready"));
    assert_eq!(health.status, 200);
    undo(machine);

    let target = files("Ask another host");
    apply(machine, &[network.as_slice(), target.as_slice()].concat());
    await_up(machine, "192.0.2.10:8888");
    undo(machine);
    format!("{} files", shown.len())
}

/// Drop-ins are files of their own, settings are lines of the settings file; then all is started anew, as the README says.
fn apply(machine: &Machine, files: &[&Shown]) {
    for file in files {
        if file.path.starts_with("/etc/systemd/") {
            machine.write(&file.path, &file.text);
        } else {
            let daemon = file.path.split('/').nth(2).expect("settings are in a folder of their own");
            edit(machine, daemon, &file.text);
        }
    }
    machine
        .sh("systemctl daemon-reload; systemctl stop 'servidor*' cliente; systemctl start servidor cliente");
}

fn connects(machine: &Machine, address: &str) -> bool {
    let address = address.parse().expect("an address with its port");
    machine.on_network(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

fn await_up(machine: &Machine, server: &str) {
    await_that(&format!("a round with {server} succeeds"), || {
        metrics(machine, "cliente").count("cliente_up", &[("server", server)]) == 1
    });
}
