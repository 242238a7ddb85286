//! A daemon whose log the test cannot follow: standard error is closed, full, or on a disk that fills.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Signal, geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{request, send_signal, skip, tool, wait_for_exit, wait_until};

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Unheard {
    child: Child,
    http: SocketAddr,
}

/// A file system of 64 KiB, on which only the daemon's log is, in a mount namespace of the daemon.
#[derive(Debug)]
pub struct SmallDisk {
    root: PathBuf,
    _folder: TempDir,
}

impl Unheard {
    /// An address on loopback for this test alone, where every port is free: the log does not say which one was chosen.
    pub fn host(case: u8) -> Ipv4Addr {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, a ^ case, b, c)
    }

    /// Starts `binary` with its standard error redirected as a shell does it, and waits until it is ready.
    pub fn start(
        binary: &str,
        host: Ipv4Addr,
        redirection: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}"), binary]).args(arguments);
        Self::spawn(shell.envs(variables.iter().copied()), host)
    }

    /// Starts `binary` with its standard error on a small disk. A test that gets `None` returns.
    pub fn start_on_small_disk(
        binary: &str,
        host: Ipv4Addr,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<(Self, SmallDisk)> {
        if !geteuid().is_root() {
            skip("mounting needs root");
            return None;
        }
        let (unshare, folder) = (tool("unshare")?, tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().to_str().expect("a path in UTF-8");
        let script = format!("mount -t tmpfs -o size=64k none {path} && exec \"$0\" \"$@\" 2>>{path}/log");
        let mut command = Command::new(unshare);
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, binary]).args(arguments);
        let daemon = Self::spawn(command.envs(variables.iter().copied()), host);
        let root = PathBuf::from(format!("/proc/{}/root{path}", daemon.child.id()));
        Some((daemon, SmallDisk { root, _folder: folder }))
    }

    fn spawn(command: &mut Command, host: Ipv4Addr) -> Self {
        let http = SocketAddr::from((host, 20_889));
        let child = command
            .args(["--metrics-listen", &http.to_string()])
            .args(["--log-format", "json", "--log-events-per-second", "1000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let daemon = Self { child, http };
        wait_until("it listens", || TcpStream::connect(http).is_ok());
        wait_until("it is ready", || request(http, "GET", "/-/ready").status == 200);
        daemon
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.http
    }

    /// The other end of its standard error, unless that was redirected.
    pub fn take_log(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("it is piped, and was not taken")
    }

    /// Stops it, and asserts that it ends well.
    pub fn assert_stops(mut self) {
        send_signal(&self.child, Signal::TERM);
        assert_eq!(wait_for_exit(&mut self.child).code(), Some(0));
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl SmallDisk {
    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut filler = File::create(self.root.join("filler")).expect("the daemon runs");
        while filler.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.root.join("filler")).expect("it was filled");
    }

    /// How many whole lines the log has, and how many that were cut off.
    pub fn lines(&self) -> (u64, u64) {
        let text = fs::read_to_string(self.root.join("log")).expect("the daemon runs");
        let (mut whole, mut cut) = (0, 0);
        for line in text.lines() {
            let is_whole = serde_json::from_str::<Value>(line).is_ok();
            *(if is_whole { &mut whole } else { &mut cut }) += 1;
        }
        (whole, cut)
    }
}
