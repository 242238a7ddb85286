//! The daemon under test, on ports that the system chooses.

use testkit::Daemon;

/// Starts `servidor` on 127.0.0.1, unless `arguments` say otherwise.
pub(crate) fn start(arguments: &[&str]) -> Daemon {
    let mut arguments = arguments.to_vec();
    if !arguments.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    Daemon::start(env!("CARGO_BIN_EXE_servidor"), &arguments)
}
