//! What runs inside the virtual machine: each attack on a service that has just been started.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, value_parser};

use super::attacks::{ATTACKS, Attack, Peers, SERVER, leave_orphans};
use super::formula::worst_case;

/// The hidden subcommand of `xtask` that the machine runs.
pub(crate) const NAME: &str = "memory-attacks";

const SERVICE: &str = "servidor.service";
const GROUP: &str = "/sys/fs/cgroup/system.slice/servidor.service";
/// What the kernel must allow the peers.
const KERNEL_SETTINGS: [(&str, &str); 3] = [
    ("ipv4/ip_local_port_range", "1024 65535"),
    ("ipv4/tcp_mem", "400000 500000 600000"),
    ("ipv4/tcp_max_orphans", "100000"),
];

pub(crate) fn command() -> clap::Command {
    let connections = Arg::new("connections").required(true).value_parser(value_parser!(u64));
    let only = Arg::new("only").help("Only attacks whose names contain this");
    let command =
        clap::Command::new(NAME).hide(true).about("Attack the memory of the service on this machine");
    command.args([connections, only])
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let connections = *matches.get_one("connections").context("it is required")?;
    for (name, value) in KERNEL_SETTINGS {
        fs::write(format!("/proc/sys/net/{name}"), value).context(name)?;
    }
    println!("{:<52}{:>8}{:>8}{:>8}{:>8}{:>8}  KiB", "", "peak", "current", "anon", "kernel", "sock");
    let mut failures = 0;
    let only: &str = matches.get_one("only").map_or("", String::as_str);
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(only)) {
        if let Err(error) = try_attack(attack, connections) {
            println!("FAIL {}: {error:#}", attack.name);
            failures += 1;
        }
    }
    anyhow::ensure!(failures == 0, "{failures} attacks succeeded");
    Ok(())
}

fn try_attack(attack: &Attack, connections: u64) -> anyhow::Result<()> {
    systemctl(&["restart", SERVICE])?;
    let pid = property("MainPID")?;
    // One connection is left for a peer that behaves.
    let count = attack.peers.map_or_else(|| usize::try_from(connections - 1), Ok)?;
    let mut peers = Peers::connect(count, attack.manner)?;
    for _ in 0..attack.turns {
        peers.take_turns()?;
    }
    let (mut orphans, mut staying) = (Vec::new(), None);
    if attack.leaves {
        orphans = leave_orphans(peers, attack.turns)?;
    } else if attack.peers.is_none() {
        staying = Some(peers);
    }
    let answered = ask();
    let usage = Usage::now()?;
    let [peak, ..] = usage.columns;
    println!("{:<52}{}", attack.name, usage.columns.map(|bytes| format!("{:>8}", bytes >> 10)).concat());
    answered?;
    drop((orphans, staying));
    anyhow::ensure!(usage.oom_kills == 0, "the kernel killed it for its memory");
    anyhow::ensure!(property("MainPID")? == pid, "it was restarted");
    let allowed = worst_case(connections);
    anyhow::ensure!(peak <= allowed, "{} KiB at the peak, of {} KiB", peak >> 10, allowed >> 10);
    Ok(())
}

/// A peer that behaves is served.
fn ask() -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(SERVER)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(b"2\n")?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).context("a peer that behaves has no reply")?;
    anyhow::ensure!(&reply == b"PAR\n", "the reply to 2 is {reply:?}");
    Ok(())
}

/// What the control group of the service holds, in bytes, and how often the kernel has killed for it.
struct Usage {
    columns: [u64; 5],
    oom_kills: u64,
}

impl Usage {
    fn now() -> anyhow::Result<Self> {
        let value = |file: &str, name: &str| -> anyhow::Result<u64> {
            let text = fs::read_to_string(format!("{GROUP}/{file}")).with_context(|| file.to_owned())?;
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.with_context(|| format!("no {name} in {file}"))
        };
        let columns = [
            value("memory.peak", "")?,
            value("memory.current", "")?,
            value("memory.stat", "anon ")?,
            value("memory.stat", "kernel ")?,
            value("memory.stat", "sock ")?,
        ];
        Ok(Self { columns, oom_kills: value("memory.events", "oom_kill ")? })
    }
}

fn property(name: &str) -> anyhow::Result<String> {
    systemctl(&["show", "--value", "--property", name, SERVICE])
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("systemctl").args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "systemctl {arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
