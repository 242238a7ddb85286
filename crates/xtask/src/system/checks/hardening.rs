//! What the units forbid, by systemd's own count and by trying it from inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;

use super::support::{connects, drop_in, edit, undo};
use crate::cargo::workspace;
use crate::system::machine::Machine;

/// The units, and the exposure that each may have at most, in tenths.
const EXPOSURE: [(&str, u32); 2] = [("servidor", 9), ("cliente", 9)];
/// An address of the machine that is not its loopback's.
const ELSEWHERE: &str = "192.0.2.1:7";
const PROBE: &str = include_str!("../../../system/probe.sh");
/// What directives of a service are about its life, and forbid nothing.
const LIFE: [&str; 19] = [
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "StandardOutput",
    "StandardError",
    "WatchdogSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Restart",
    "RestartSec",
    "RestartSteps",
    "RestartMaxDelaySec",
    "RestartPreventExitStatus",
    "SuccessExitStatus",
    "FileDescriptorStoreMax",
    "Environment",
    "RemoveIPC",   // Looked at from outside.
    "KeyringMode", // systemd's default for services, and no program of a small Debian shows it.
];

pub(super) fn scores(machine: &Machine) -> String {
    let units = "cliente.service cliente@name.service servidor.service";
    let found = machine.sh(&format!("systemd-analyze verify --man=no {units} 2>&1"));
    // systemd 252 does not know these two, and says so.
    let is_new = |line: &str| ["'RestartSteps'", "'RestartMaxDelaySec'"].iter().any(|new| line.contains(new));
    let found: Vec<&str> = found.lines().filter(|line| !is_new(line)).collect();
    assert!(found.is_empty(), "systemd finds fault with the units: {found:#?}");
    let score = |(name, threshold): (&str, u32)| {
        let unit = format!("{name}.service");
        let told = machine.sh(&format!(
            "systemd-analyze security --offline=true --no-pager --threshold={threshold} /usr/lib/systemd/system/{unit}"
        ));
        let overall = told.lines().last().unwrap_or_default();
        let exposure = overall.split_whitespace().find(|word| word.parse::<f64>().is_ok());
        format!("{name} {}", exposure.expect("the last line tells the exposure"))
    };
    EXPOSURE.map(score).join(", ")
}

pub(super) fn forbidden(machine: &Machine) -> String {
    lay_out(machine);
    let _listener =
        machine.on_network(|| TcpListener::bind(ELSEWHERE).expect("nobody else is on the machine"));
    let free = verdicts(&machine.sh("systemd-run --quiet --wait --collect --pipe /usr/local/bin/probe"));
    let broken: Vec<&String> = free.iter().filter(|(_, allowed)| !**allowed).map(|(name, _)| name).collect();
    assert!(broken.is_empty(), "these fail even without any restriction: {broken:?}");
    let segments = || machine.sh("ipcs --shmems | grep --count ^0x");
    let shared = segments();

    EXPOSURE
        .map(|(name, _)| {
            let confined = verdicts(&confined(machine, name));
            let directives = restrictions(&shipped(name));
            for directive in &directives {
                let allowed =
                    *confined.get(directive).unwrap_or_else(|| panic!("the probe does not try {directive}"));
                assert!(!allowed, "{name}.service allows what {directive} is to forbid");
            }
            assert_eq!(segments(), shared, "RemoveIPC left what {name}.service made");
            format!("{name} {}", directives.len())
        })
        .join(", ")
}

/// Wherever it listens, only this host gets through. With systemd 257 a stored socket keeps the filter of the start that bound
/// it; 252 applies a new one at a restart.
pub(super) fn filter(machine: &Machine) -> String {
    const PORTS: [u16; 2] = [8888, 9888];
    machine.sh("ip address replace 192.0.2.1/24 dev lo");
    let networks = "[\"127.0.0.0/8\", \"192.0.2.0/24\"]";
    edit(
        machine,
        "servidor",
        &format!(
            "listen = [\"0.0.0.0:8888\"]\nallow = {networks}\n\
             metrics-listen = \"0.0.0.0:9888\"\nmetrics-allow = {networks}"
        ),
    );
    let lets_in = |address: &str| PORTS.map(|port| connects(machine, &format!("{address}:{port}")));
    machine.sh("systemctl restart servidor");
    assert_eq!(lets_in("127.0.0.1"), [true; 2], "this host");
    assert_eq!(lets_in("192.0.2.1"), [false; 2], "the network");

    drop_in(machine, "servidor.service", "[Service]\nIPAddressAllow=192.0.2.0/24\n");
    machine.sh("systemctl restart servidor");
    let after_restart = lets_in("192.0.2.1");
    machine.sh("systemctl stop servidor; systemctl start servidor");
    assert_eq!(lets_in("192.0.2.1"), [true; 2], "the network, after a stop and a start");
    undo(machine);
    format!("after a restart: {after_restart:?}")
}

/// The directives of a unit's service that forbid something.
fn restrictions(unit: &str) -> BTreeSet<String> {
    let service = unit.split("\n[").find_map(|section| section.strip_prefix("Service]\n"));
    let lines = service.expect("a service").lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned());
    names.filter(|name| !LIFE.contains(&name.as_str())).collect()
}

/// What the probe looks for: each is there for anyone whom no directive keeps away.
fn lay_out(machine: &Machine) {
    machine.write("/usr/local/bin/probe", PROBE);
    machine.write("/usr/local/bin/foreign", foreign_program());
    machine.sh("chmod 755 /usr/local/bin/*
        install -m 4755 /usr/bin/id /usr/local/bin/root-id
        install /usr/bin/true /opt/mark
        mkdir -p /usr/lib/modules /run/machine
        touch /root/mark /tmp/mark /usr/lib/modules/mark
        mknod -m 666 /dev/mark c 1 5
        for kind in mnt net; do readlink /proc/1/ns/$kind >/run/machine/$kind; done
        findmnt --noheadings --first-only --types cgroup2 --output TARGET >/run/machine/control-groups
        cat /proc/sys/net/ipv4/ip_default_ttl >/run/machine/ttl
        ip address replace 192.0.2.1/24 dev lo");
}

/// What the probe prints under the properties of a shipped unit.
fn confined(machine: &Machine, name: &str) -> String {
    let unit = shipped(name);
    let unit: Vec<&str> = unit.lines().filter(|line| !line.starts_with("Wants=")).collect();
    machine.write(&format!("/run/systemd/system/probe-{name}.service"), unit.join("\n"));
    // The shell and its programs need to be run; only what is in /opt stays forbidden.
    machine.write(
        &format!("/run/systemd/system/probe-{name}.service.d/probe.conf"),
        "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\nExecStart=\nExecStart=/usr/local/bin/probe\n\
         StandardOutput=journal\nExecPaths=/usr/bin /usr/sbin /usr/local/bin\nOOMPolicy=continue\nTimeoutStartSec=60\n",
    );
    machine.sh(&format!("systemctl daemon-reload; systemctl start probe-{name}; journalctl --sync"));
    machine.sh(&format!("journalctl --unit=probe-{name} --output=cat _TRANSPORT=stdout"))
}

fn verdicts(printed: &str) -> BTreeMap<String, bool> {
    printed
        .lines()
        .map(|line| {
            let (directive, verdict) = line.split_once(' ').unwrap_or_else(|| panic!("no verdict: {line}"));
            (directive.to_owned(), verdict == "allowed")
        })
        .collect()
}

fn shipped(name: &str) -> String {
    let path = workspace().join(format!("deploy/systemd/{name}.service"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A 32-bit program that exits with 0: the smallest program of another architecture that this processor runs.
fn foreign_program() -> Vec<u8> {
    let mut elf: Vec<u8> = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2u16, 3].map(u16::to_le_bytes).concat()); // An executable, for the 386.
    elf.extend([1u32, 0x0804_8054, 52, 0, 0].map(u32::to_le_bytes).concat()); // Starts right after the headers.
    elf.extend([52u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    let code = [0x31, 0xdb, 0x8d, 0x43, 0x01, 0xcd, 0x80]; // xor ebx, ebx; lea eax, [ebx + 1]; int 0x80
    let size = 84 + u32::try_from(code.len()).expect("seven");
    elf.extend([1u32, 0, 0x0804_8000, 0x0804_8000, size, size, 5, 0x1000].map(u32::to_le_bytes).concat());
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_of_cliente_is_run_as_cliente_is() {
        let service = shipped("cliente").replace("/etc/cliente/cliente.toml", "/etc/cliente/%i.toml");
        let instance = shipped("cliente@").replace(" (%i)\n", "\n");
        let (_, instance) = instance.split_once("\n\n").expect("a comment, then the unit");
        assert_eq!(instance, service);
    }
}
