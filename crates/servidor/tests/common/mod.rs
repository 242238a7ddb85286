//! The daemon under test, on ports that the system chooses.
#![allow(dead_code, reason = "each test file is a crate of its own, and uses what it needs")]

use std::os::fd::OwnedFd;
use std::process::Command;

use testkit::{Daemon, scrape_until, wait_until};

/// What the threads are called that serve clients.
pub(crate) const EVENT_LOOP: &str = "event loop";

/// Starts `servidor` on 127.0.0.1, unless `arguments` say otherwise.
pub(crate) fn start(arguments: &[&str]) -> Daemon {
    start_with(arguments, &[])
}

/// The same, with these variables.
pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Daemon {
    let mut arguments = arguments.to_vec();
    if !arguments.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    Daemon::start_with(env!("CARGO_BIN_EXE_servidor"), &arguments, variables)
}

/// Starts `servidor` with `socket` passed as systemd does, at descriptor 3.
pub(crate) fn start_inheriting(socket: OwnedFd, arguments: &[&str]) -> Daemon {
    Daemon::spawn(&mut inheriting(socket, "LISTEN_FDS=1 LISTEN_FDNAMES=servidor", arguments))
}

/// The command that does so, with these variables.
pub(crate) fn inheriting(socket: OwnedFd, variables: &str, arguments: &[&str]) -> Command {
    let script = format!("LISTEN_PID=$$ {variables} exec \"$0\" \"$@\" 3<&0 </dev/null");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_servidor"), "--log-format", "json"])
        .args(arguments)
        .env_clear()
        .stdin(socket);
    if !arguments.contains(&"--metrics-listen") {
        command.args(["--metrics-listen", "127.0.0.1:0"]);
    }
    command
}

/// Waits until two connections have ended, one by its client and the other for `reason`, and no file beyond `files` is left of them.
pub(crate) fn assert_both_ended(daemon: &Daemon, reason: &str, files: u64) {
    wait_until("no file is left of either", || daemon.open_files() <= files);
    let metrics = scrape_until(daemon.metrics_address(), "both have ended", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 0
    });
    assert_eq!(metrics.count("servidor_connections_total", &[]), 2);
    for reason in [reason, "client"] {
        assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", reason)]), 1, "{reason}");
    }
}
