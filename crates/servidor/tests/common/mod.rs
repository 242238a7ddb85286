//! The daemon under test, on ports that the system chooses.
#![allow(dead_code, reason = "each test file is a crate of its own, and uses what it needs")]

use std::os::fd::OwnedFd;
use std::process::Command;

use testkit::Daemon;

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

/// Starts `servidor` with `socket` handed over as systemd does, at descriptor 3.
pub(crate) fn start_inheriting(socket: OwnedFd, arguments: &[&str]) -> Daemon {
    let handover = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=servidor exec \"$0\" \"$@\" 3<&0 </dev/null";
    Daemon::spawn(
        Command::new("sh")
            .args(["-c", handover, env!("CARGO_BIN_EXE_servidor"), "--metrics-listen", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(arguments)
            .env_clear()
            .stdin(socket),
    )
}
