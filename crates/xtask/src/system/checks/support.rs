//! What several checks do to the daemons, and read from them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use testkit::Metrics;

use crate::system::machine::{Machine, await_that};

pub(super) const SERVER: &str = "127.0.0.1:8888";
pub(super) const DAEMONS: [&str; 2] = ["servidor", "cliente"];

/// One scrape of a daemon.
pub(super) fn metrics(machine: &Machine, daemon: &str) -> Metrics {
    let port = if daemon == "servidor" { 9888 } else { 9889 };
    machine.on_network(|| testkit::scrape(SocketAddr::from(([127, 0, 0, 1], port))))
}

/// One question on a connection of its own.
pub(super) fn ask(address: &str, question: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The client's rounds so far: those begun, and those that failed, for whatever reason.
pub(super) fn rounds(machine: &Machine) -> (u64, u64) {
    let metrics = metrics(machine, "cliente");
    let sum = |name: &str| -> u64 {
        let samples = metrics.text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let values = samples.filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<u64>().expect("a count")).sum()
    };
    (sum("cliente_rounds_total"), sum("cliente_round_failures_total"))
}

/// Whether a connection to `address` of the machine is accepted within the time that a filter lets pass in silence.
pub(super) fn connects(machine: &Machine, address: &str) -> bool {
    let address = address.parse().expect("an address with its port");
    machine.on_network(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

/// How many sockets systemd keeps for a daemon.
pub(super) fn stored(machine: &Machine, daemon: &str) -> String {
    machine.property(daemon, "NFileDescriptorStore")
}

/// What a daemon itself wrote to the journal: its entries, whose messages are JSON, newest last. A check of settings, which
/// runs under the same name, writes plain text.
pub(super) fn journal(machine: &Machine, daemon: &str, options: &str) -> Vec<Value> {
    machine.sh("journalctl --sync");
    let command =
        format!("journalctl --unit={daemon} --output=json --all {options} SYSLOG_IDENTIFIER={daemon}");
    let lines = machine.sh(&command);
    let entries =
        lines.lines().map(|line| -> Value { serde_json::from_str(line).expect("journalctl writes JSON") });
    entries.filter(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with('{'))).collect()
}

/// The daemon's own log line in an entry.
pub(super) fn message(entry: &Value) -> Value {
    let text = entry["MESSAGE"].as_str().unwrap_or_else(|| panic!("no text: {entry}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether the daemon has logged this since it was last started.
pub(super) fn has_logged(machine: &Machine, daemon: &str, wanted: &str) -> bool {
    let invocation = machine.property(daemon, "InvocationID");
    let entries = journal(machine, daemon, &format!("_SYSTEMD_INVOCATION_ID={invocation}"));
    entries.iter().any(|entry| message(entry)["message"] == wanted)
}

pub(super) fn is_active(machine: &Machine, unit: &str) -> bool {
    machine.property(unit, "ActiveState") == "active"
}

pub(super) fn await_active(machine: &Machine, unit: &str) {
    await_that(&format!("{unit} is active"), || is_active(machine, unit));
}

pub(super) fn await_both_active(machine: &Machine) {
    for daemon in DAEMONS {
        await_active(machine, daemon);
    }
}

/// Writes a drop-in, as an administrator would; it lasts until [`undo`].
pub(super) fn drop_in(machine: &Machine, unit: &str, contents: &str) {
    machine.write(&format!("/etc/systemd/system/{unit}.d/check.conf"), contents);
    machine.sh("systemctl daemon-reload");
}

/// Takes all drop-ins and edits back, and has both daemons running as shipped.
pub(in crate::system) fn undo(machine: &Machine) {
    machine.sh("rm -rf /etc/systemd/system/*.d /etc/systemd/system/*.socket
        for file in /etc/*/*.shipped; do
            if test -e $file; then mv $file ${file%.shipped}; fi
        done
        systemctl daemon-reload
        systemctl stop 'servidor*' 'cliente*'
        systemctl reset-failed
        systemctl start servidor cliente");
}

/// Adds lines to a daemon's settings as shipped.
pub(super) fn edit(machine: &Machine, daemon: &str, lines: &str) {
    let file = format!("/etc/{daemon}/{daemon}.toml");
    machine.sh(&format!("test -e {file}.shipped || cp {file} {file}.shipped"));
    machine.write(&file, machine.sh(&format!("cat {file}.shipped")) + "\n" + lines + "\n");
}

/// What `systemctl status` says of a daemon.
pub(super) fn status_line(machine: &Machine, daemon: &str) -> String {
    let shown = machine.sh(&format!("systemctl status --no-pager --lines=0 {daemon}"));
    let line = shown.lines().find_map(|line| line.trim().strip_prefix("Status: "));
    line.unwrap_or_else(|| panic!("no status line:\n{shown}")).trim_matches('"').to_owned()
}
