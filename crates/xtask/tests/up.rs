//! `cargo xtask up` with a fake cargo and two fake daemons (`fakes/`): what is started and stopped, when, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use testkit::{DEADLINE, wait_until};

struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    folder: PathBuf,
}

impl Up {
    /// Starts `xtask up`, in a new process group, as a terminal would.
    fn start(test: &str, error: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["up", "--interval", "250ms"])
            .env("CARGO", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes/cargo"))
            .env("FAKES", &folder)
            .env("SETTINGS_ERROR", error)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("xtask starts");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines, seen: Vec::new(), folder }
    }

    fn wait_for(&mut self, part: &str) {
        while !self.seen.last().is_some_and(|line| line.contains(part)) {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("{error} before {part:?}:\n{}", self.seen.join("\n")),
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The status, all of standard output, and all of standard error.
    fn end(mut self) -> (ExitStatus, String, String) {
        self.seen.extend(self.lines.iter());
        let mut errors = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("UTF-8");
        (self.child.wait().expect("a child"), self.seen.join("\n"), errors)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ctrl_c_stops_the_client_then_the_server_and_shows_how_many_rounds_went_right() {
    let mut up = Up::start("ctrl-c", "");
    up.wait_for("round completed");
    let arguments = fs::read_to_string(up.folder.join("cliente.arguments")).unwrap();
    kill_process_group(up.pid(), Signal::INT).unwrap();
    let (status, shown, errors) = up.end();

    assert!(arguments.starts_with("--target 127.0.0.1:4711 --interval 250ms "), "{arguments}");
    let expected = [
        "12:01:05 servidor listening                       127.0.0.1:4711, limit 5",
        "12:01:05 servidor metrics listening               127.0.0.1:4712",
        "12:01:05 cliente  metrics listening               127.0.0.1:4713",
        "  servidor  page http://127.0.0.1:4712/  metrics http://127.0.0.1:4712/metrics",
        "  cliente   page http://127.0.0.1:4713/  metrics http://127.0.0.1:4713/metrics",
        "  Times are UTC. Ctrl-C stops both.",
        "12:01:05 cliente  round failed               5 µs refused: connection refused",
        "12:01:05 cliente  round completed   even   112 µs 4",
        "12:01:05 cliente  stopped right=41 rounds=42",
        "12:01:05 servidor stopped right=41 rounds=42",
        "41 of 42 rounds went right.",
    ];
    let shown: Vec<&str> =
        shown.lines().filter(|line| !line.is_empty() && !line.starts_with("==>")).collect();
    assert_eq!(shown, expected);
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn a_daemon_that_dies_is_reported_and_the_other_stops_too() {
    let mut up = Up::start("death", "");
    up.wait_for("round completed");
    let pid = fs::read_to_string(up.folder.join("cliente.pid")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let (status, shown, errors) = up.end();

    assert!(shown.contains("servidor stopped"), "{shown}");
    assert_eq!(errors, "xtask: cliente ended by itself: signal: 9 (SIGKILL)\n");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_server_that_does_not_start_is_shown_with_its_error() {
    let (status, shown, errors) = Up::start("wrong", "servidor: 1 setting is wrong").end();

    assert!(shown.contains("servidor servidor: 1 setting is wrong"), "{shown}");
    assert_eq!(errors, "xtask: servidor ended by itself: exit status: 78\n");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn no_daemon_outlives_xtask_even_when_that_is_killed() {
    let mut up = Up::start("killed", "");
    up.wait_for("round completed");
    up.child.kill().unwrap();
    for name in ["servidor.stopped", "cliente.stopped"] {
        wait_until("the kernel's SIGTERM stops the daemons", || up.folder.join(name).exists());
    }
}
