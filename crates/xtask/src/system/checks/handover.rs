//! Sockets that the operator binds: they overrule the settings, and are not stored.

use super::support::{SERVER, ask, connects, has_logged, stored, undo};
use crate::system::machine::Machine;

const ADDRESS: &str = "127.0.0.1:7777";

/// The unit names its socket, then leaves that to systemd.
pub(super) fn overrules(machine: &Machine) -> String {
    for name in ["FileDescriptorName=servidor\n", ""] {
        machine.write(
            "/etc/systemd/system/servidor.socket",
            format!("[Socket]\nListenStream={ADDRESS}\n{name}"),
        );
        machine
            .sh("systemctl daemon-reload; systemctl stop servidor; systemctl start servidor.socket servidor");
        // At the second restart the daemon finds a socket again that it has had already.
        for _ in 0..2 {
            let answer = machine.on_network(|| ask(ADDRESS, "7\n"));
            assert_eq!(answer.expect("it serves what it was handed"), "ÍMPAR\n");
            assert!(!connects(machine, SERVER), "the settings are overruled");
            assert_eq!(stored(machine, "servidor"), "1", "that of the metrics");
            assert!(!has_logged(machine, "servidor", "inherited socket of an unknown name"));
            machine.sh("systemctl restart servidor");
        }
        machine.sh("systemctl stop servidor servidor.socket");
        undo(machine);
    }
    String::new()
}
