//! Settings from a pipe or a device, which can be read only once, or never end.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use testkit::{Daemon, Peer, Signal, scrape};

const SETTINGS: &str = "listen = \"127.0.0.1:0\"\nmetrics-listen = \"127.0.0.1:0\"\nmax-connections = 7\n";
const FLAGS: [&str; 2] = ["--log-format", "json"];

/// Asserts that a reload is refused, since the settings came through the pipe at `path`, and that it changes nothing.
fn assert_reload_is_refused(daemon: &Daemon, path: &str) {
    daemon.wait_for("listening");
    daemon.signal(Signal::HUP);
    let failed = daemon.wait_for("reload failed");
    let problem = format!("{path}: expected a regular file, which can be read again, not a pipe");
    assert_eq!(failed["error"], problem.as_str());
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_limit", &[]), 7);
    assert_eq!(metrics.count("servidor_config_last_reload_successful", &[]), 0);
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
}

#[test]
fn settings_from_a_pipe_cannot_be_reloaded() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(SETTINGS.as_bytes()).expect("an empty pipe has room");
    drop(writer);
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    command.args(["--config", "/dev/stdin"]).args(FLAGS).env_clear().stdin(reader);
    assert_reload_is_refused(&Daemon::spawn(&mut command), "/dev/stdin");
}

#[test]
fn settings_from_a_fifo_are_read_once_and_cannot_be_reloaded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("settings");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a new name");
    let path = fifo.to_str().expect("a path in UTF-8").to_owned();
    let writer = thread::spawn(move || fs::write(fifo, SETTINGS));
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    let daemon =
        Daemon::spawn(command.args(["--config", &path]).args(FLAGS).env_clear().stdin(Stdio::null()));
    writer.join().expect("it does not panic").expect("the daemon reads");
    assert_reload_is_refused(&daemon, &path);
}

#[test]
fn an_endless_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let large = folder.path().join("large.toml");
    fs::write(&large, "#".repeat(1024 * 1024 + 1)).expect("a new file");
    for path in ["/dev/zero", large.to_str().expect("a path in UTF-8")] {
        // Its memory is limited, so that a failure of this test does no harm.
        let output = Command::new("sh")
            .args(["-c", "ulimit -v 65536; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_servidor")])
            .args(["--check-config", "--config", path])
            .env_clear()
            .output()
            .expect("sh starts");
        let error = String::from_utf8_lossy(&output.stderr);
        let expected = format!("servidor: 1 setting is wrong\n  {path}: expected a file of at most 1 MiB\n");
        assert_eq!((output.status.code(), error.as_ref()), (Some(78), expected.as_str()));
    }
}
