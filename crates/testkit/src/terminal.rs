//! A pseudo-terminal, for daemons that behave differently on a terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The end that shows what is written, and the end that a process is given.
pub fn terminal() -> (File, File) {
    let screen =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a free terminal");
    grantpt(&screen).expect("a terminal of this process");
    unlockpt(&screen).expect("a terminal of this process");
    let name = ptsname(&screen, Vec::new()).expect("a terminal has a name");
    let terminal = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()));
    (File::from(screen), terminal.expect("it is unlocked"))
}

/// A command that starts `binary` in a new session, with `terminal` as its controlling terminal. `setsid` is the
/// program of that name.
pub fn on_terminal(setsid: &Path, binary: &str, terminal: File) -> Command {
    let mut command = Command::new(setsid);
    command.args(["--ctty", binary]).env_clear().stdin(terminal);
    command
}
