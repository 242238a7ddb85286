//! SIGHUP: stops the daemon if its terminal has closed. Otherwise it is a reload, unless it is ignored.

mod common;

use std::process::Command;

use common::start;
use serde_json::Value;
use testkit::{Daemon, Signal, on_terminal, terminal, tool};

const FLAGS: [&str; 6] =
    ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"];

#[test]
fn closing_the_terminal_stops_the_daemon() {
    let Some(setsid) = tool("setsid") else { return };
    let (screen, keyboard) = terminal();
    let mut command = on_terminal(&setsid, env!("CARGO_BIN_EXE_servidor"), keyboard);
    let mut daemon = Daemon::spawn(command.args(FLAGS));
    // The daemon has the only other end from now on.
    drop(command);
    daemon.wait_for("listening");
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded");

    drop(screen);
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.wait_for("draining");
    assert_eq!(daemon.lines_with("reloaded").len(), 1, "a reload only while the terminal was there");
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_servidor")]).args(FLAGS).env_clear();
    let daemon = Daemon::spawn(&mut command);
    daemon.wait_for("listening");
    assert!(ignores_hangup(&daemon));
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::USR1);
    daemon.wait_for("state");
    assert_eq!(daemon.lines_with("reloaded"), [] as [Value; 0]);
    assert!(!ignores_hangup(&started(start(&[]))), "else it is not ignored");
}

fn started(daemon: Daemon) -> Daemon {
    daemon.wait_for("listening");
    daemon
}

/// Whether the kernel drops SIGHUP: proc_pid_status(5).
fn ignores_hangup(daemon: &Daemon) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("a child of this process");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    u64::from_str_radix(ignored.trim(), 16).expect("a mask in hexadecimal") & 1 == 1
}
