//! The settings of the daemons: what they are asked to do, and what each reload changes.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::Context as _;

/// The clients: a connection for each round, one for all, and few rounds with two targets.
pub(super) const CLIENTS: [&str; 3] = ["fresh", "kept", "slow"];
/// Of all clients together.
pub(super) const TARGETS: u64 = 4;

pub(super) fn max_connections(cycle: usize) -> u64 {
    if cycle.is_multiple_of(2) { 100 } else { 120 }
}

/// Writes the settings of all, which differ from one cycle to the next.
pub(super) fn configure(folder: &Path, port: u16, cycle: usize) -> anyhow::Result<()> {
    let by_turns = |even, odd| if cycle.is_multiple_of(2) { even } else { odd };
    let write = |name: &str, text: String| fs::write(folder.join(format!("{name}.toml")), text);
    write(
        "server",
        format!(
            "listen = [\"127.0.0.1:{port}\", \"127.0.0.2:{port}\"]\nmax-connections = {}\nline-timeout = \"1s\"\n\
             write-timeout = \"1s\"\nidle-timeout = \"{}\"\nlog-events-per-second = 5000\n",
            max_connections(cycle),
            by_turns("30s", "20s"),
        ),
    )?;
    let targets = [
        format!("\"127.0.0.1:{port}\"]\nconnection = \"fresh\""),
        format!("\"localhost:{port}\"]\nconnection = \"kept\"\nstall-threshold = \"1h\""),
        format!("\"127.0.0.1:{port}\", \"127.0.0.2:{port}\"]\ndetail = \"compact\"\nlog-level = \"debug\""),
    ];
    let intervals = [by_turns("50ms", "40ms"), by_turns("20ms", "25ms"), by_turns("250ms", "200ms")];
    for ((name, target), interval) in CLIENTS.into_iter().zip(targets).zip(intervals) {
        write(name, format!("target = [{target}\ninterval = \"{interval}\"\nreply-timeout = \"1s\"\n"))?;
    }
    Ok(())
}

/// A port that no connection of anyone gets by chance while the server is being restarted.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000)?;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    (first..30_000).chain(20_000..first).find(is_free).context("no free port")
}
