//! A network of a test's own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::panic;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::{skip, tool};

/// Does something on a network that the shell script `setup` has prepared, in a thread of its own; all that this thread
/// starts is on that network. Nothing is done, and that is said, where it cannot be had.
pub(crate) fn on_network(setup: &str, act: impl FnOnce() + Send) {
    if !geteuid().is_root() {
        return skip("only root can enter a network namespace");
    }
    let (Some(unshare), Some(_)) = (tool("unshare"), tool("ip")) else { return };
    // The network lives as long as what runs there: until its input ends.
    let script = format!("set -e\n{setup}\necho ready\nexec cat");
    let mut keeper = Command::new(unshare)
        .args(["--net", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    assert_eq!(line, "ready\n", "the network is not set up");
    let network = File::open(format!("/proc/{}/ns/net", keeper.id())).expect("a child not waited for");
    let act = || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter a network");
        act();
    };
    let outcome = thread::scope(|scope| scope.spawn(act).join());
    drop(keeper.stdin.take());
    keeper.wait().expect("a child not waited for");
    outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
}
