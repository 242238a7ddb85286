//! A network of a test's own, with the files in `/etc` that a resolver reads: namespaces(7).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::{Daemon, skip, tool};

/// All of `127.0.0.0/8` is there, and `::1`; and these.
const SET_UP: &str = "
    set -e
    ip link set lo up
    ip address add 192.0.2.1/24 dev lo
    ip address add 192.0.2.2/24 dev lo
    ip address add 192.0.2.3/24 dev lo
    ip address add 2001:db8::1/128 dev lo nodad
    ip route add unreachable 198.51.100.0/24
    mount --bind \"$1\" /etc
    echo ready
    read -r _
";

/// The test that made it is in the network; daemons that it starts are in there too, and have an `/etc` of their own.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
    nsenter: PathBuf,
    etc: TempDir,
}

impl Namespace {
    /// Makes one, with 192.0.2.1 to 3 and 2001:db8::1 as addresses, an unreachable network 198.51.100.0/24, and empty
    /// files. The thread that calls this enters the network for good, and so do the threads that it starts.
    ///
    /// A test that gets `None` returns: the line that says so is printed here.
    pub fn enter() -> Option<Self> {
        if !geteuid().is_root() {
            skip("a network namespace needs root");
            return None;
        }
        let (unshare, nsenter, _) = (tool("unshare")?, tool("nsenter")?, tool("ip")?);
        let etc = tempfile::tempdir().expect("a temporary folder");
        fs::write(etc.path().join("hosts"), "").expect("a new folder");
        fs::write(etc.path().join("resolv.conf"), "").expect("a new folder");
        let path = etc.path().to_str().expect("a path in UTF-8");
        let mut holder = Command::new(unshare)
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c", SET_UP, "sh", path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let output = holder.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the network is set up; why not is on standard error");
        let network = File::open(format!("/proc/{}/ns/net", holder.id())).expect("it runs");
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
        Some(Self { holder, nsenter, etc })
    }

    /// Replaces a file in `/etc`, as programs do that care: by another file of this name.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.etc.path().join("new");
        fs::write(&new, text).and_then(|()| fs::rename(new, self.etc.path().join(name))).expect("a folder");
    }

    /// Removes a file from `/etc`.
    pub fn remove(&self, name: &str) {
        match fs::remove_file(self.etc.path().join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{name}: {error}"),
            _ => {}
        }
    }

    /// Drops all packets from and to this address, and tells nobody, until [`Namespace::heal`].
    pub fn cut_off(&self, address: Ipv4Addr) {
        // Of a packet on Ethernet: return 2 (drop) if its source or its destination is `address`, else 0 (let it pass).
        let address = u32::from(address);
        self.filter(&format!("6,32 0 0 26,21 2 0 {address},32 0 0 30,21 0 1 {address},6 0 0 2,6 0 0 0"));
    }

    /// The same for packets to this address only.
    pub fn deafen(&self, address: Ipv4Addr) {
        self.filter(&format!("4,32 0 0 30,21 0 1 {},6 0 0 2,6 0 0 0", u32::from(address)));
    }

    /// Drops no packets any more.
    pub fn heal(&self) {
        self.run("tc", &["qdisc", "del", "dev", "lo", "clsact"]);
    }

    /// Asks this program, in the form of bpf(4), what becomes of each packet.
    fn filter(&self, program: &str) {
        self.run("tc", &["qdisc", "add", "dev", "lo", "clsact"]);
        let filter = ["filter", "add", "dev", "lo", "ingress", "bpf", "direct-action", "bytecode", program];
        self.run("tc", &filter);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path = tool(program).expect("it comes with ip(8)");
        let status = self.command(path.to_str().expect("a path in UTF-8"), arguments).status();
        assert!(status.expect("nsenter starts").success(), "{program} {arguments:?}");
    }

    /// A command that starts `binary` inside.
    pub fn command(&self, binary: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.nsenter);
        let holder = self.holder.id().to_string();
        command.args(["--target", &holder, "--net", "--mount", "--", binary]).args(arguments);
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// Starts a daemon inside, with JSON logs, metrics on a free port, and these variables.
    pub fn start(&self, binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(binary, arguments);
        command.args(["--log-format", "json", "--metrics-listen", "127.0.0.1:0"]);
        Daemon::spawn(command.envs(variables.iter().copied()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The shell reads its standard input, whose end ends it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
