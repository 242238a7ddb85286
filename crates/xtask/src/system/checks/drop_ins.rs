//! The drop-ins that the README and the man pages show, each tried as it stands there.

use super::support::{SERVER, ask, connects, edit, journal, message, metrics, undo};
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

    write(machine, &files("Move the port"));
    machine.sh("systemctl restart servidor cliente");
    assert!(connects(machine, "127.0.0.1:7777") && !connects(machine, "127.0.0.1:8888"));
    let entries = journal(machine, "servidor", "");
    let closed = entries.iter().map(message).find(|line| line["message"] == "stored socket closed");
    assert_eq!(closed.expect("the journal says that the port was moved")["address"], "127.0.0.1:8888");
    await_up(machine, "127.0.0.1:7777");
    undo(machine);

    assert!(!connects(machine, "192.0.2.10:8888") && !connects(machine, "192.0.2.10:9888"));
    let network = files("Open to a network");
    write(machine, &network);
    start_anew(machine);
    let answer = machine.on_network(|| ask("192.0.2.10:8888", "3\n"));
    assert_eq!(answer.expect("the network is let in"), "ÍMPAR\n");
    let health = machine.on_network(|| testkit::request(([192, 0, 2, 10], 9888).into(), "GET", "/-/ready"));
    assert_eq!(health.status, 200);
    undo(machine);

    let target = files("Ask another host");
    write(machine, &network);
    start_anew(machine);
    write(machine, &target);
    machine.sh("systemctl daemon-reload; systemctl restart cliente");
    await_up(machine, "192.0.2.10:8888");
    undo(machine);

    write(machine, &files("More than one client"));
    machine.sh("systemctl enable --quiet --now cliente@often");
    await_that("the instance and the service both make rounds", || {
        ["127.0.0.1:9889", "127.0.0.1:9890"].iter().all(|address| {
            let metrics = machine.on_network(|| testkit::scrape(address.parse().expect("an address")));
            metrics.count("cliente_up", &[("server", SERVER)]) == 1
        })
    });
    machine.sh("systemctl disable --quiet --now cliente@often");
    machine.sh("rm /etc/cliente/often.toml");
    undo(machine);
    format!("{} files", shown.len())
}

/// The daemons' own settings get more lines; all else is a file by itself.
fn write(machine: &Machine, files: &[&Shown]) {
    for file in files {
        match file.path.as_str() {
            "/etc/servidor/servidor.toml" => edit(machine, "servidor", &file.text),
            "/etc/cliente/cliente.toml" => edit(machine, "cliente", &file.text),
            path => machine.write(path, &file.text),
        }
    }
}

/// As the README says where the address filter has changed.
fn start_anew(machine: &Machine) {
    machine.sh("systemctl daemon-reload; systemctl stop servidor cliente; systemctl start servidor cliente");
}

fn await_up(machine: &Machine, server: &str) {
    await_that(&format!("a round with {server} succeeds"), || {
        metrics(machine, "cliente").count("cliente_up", &[("server", server)]) == 1
    });
}
