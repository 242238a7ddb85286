//! What the units forbid, by systemd's own count and by trying it from inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::support::{drop_in, undo};
use crate::cargo::workspace;
use crate::system::machine::Machine;

/// The units, and the exposure that each may have at most, in tenths.
const EXPOSURE: [(&str, u32); 2] = [("servidor", 2), ("cliente", 9)];
/// An address of the machine that is not its loopback's.
const ELSEWHERE: &str = "192.0.2.1:7";
const PROBE: &str = include_str!("../../../system/probe.sh");
/// What directives of a service are about its life, and forbid nothing.
const LIFE: [&str; 13] = [
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "WatchdogSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "SuccessExitStatus",
    "RemoveIPC",   // Looked at from outside.
    "KeyringMode", // systemd's default for services, and no program of a small Debian shows it.
];

pub(super) fn scores(machine: &Machine) -> String {
    let units = "cliente.service servidor.service servidor.socket servidor-metrics.socket";
    let found = machine.sh(&format!("systemd-analyze verify --man=no {units} 2>&1"));
    assert_eq!(found, "", "systemd finds fault with the units");
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

/// A handed-over socket obeys its own unit: wherever it listens, only this host gets through.
pub(super) fn sockets(machine: &Machine) -> String {
    machine.sh("ip address replace 192.0.2.1/24 dev lo");
    for (name, port) in [("servidor", 8888), ("servidor-metrics", 9888)] {
        drop_in(
            machine,
            &format!("{name}.socket"),
            &format!("[Socket]\nListenStream=\nListenStream={port}\n"),
        );
    }
    machine.sh("systemctl stop 'servidor*'; systemctl start servidor");
    for port in [8888, 9888] {
        let connects = |address: [u8; 4]| {
            let address = SocketAddr::from((address, port));
            machine.on_network(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
        };
        assert!(connects([127, 0, 0, 1]), "this host is let in to {port}");
        assert!(!connects([192, 0, 2, 1]), "the network is let in to {port}");
    }
    undo(machine);
    String::new()
}

/// The directives of a unit's service that forbid something.
fn restrictions(unit: &str) -> BTreeSet<String> {
    let service = unit.split("\n[").find_map(|section| section.strip_prefix("Service]\n"));
    let lines = service.expect("a service").lines();
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
         ExecPaths=/usr/bin /usr/sbin /usr/local/bin\nOOMPolicy=continue\nTimeoutStartSec=60\n",
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
