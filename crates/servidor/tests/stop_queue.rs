//! A stop with a long queue and few files: all waiting connections are answered, a few at a time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;

use testkit::{Daemon, Peer, Signal, allow_open_files, skip};

const QUEUED: usize = 900;
/// What the daemon asks the kernel for, which lowers it to `net.core.somaxconn`.
const BACKLOG: usize = 1024;

/// A daemon that can have no more than 300 files open.
fn start_with_few_files() -> Daemon {
    Daemon::spawn(
        Command::new("sh")
            .args(["-c", "ulimit -n 300; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_servidor")])
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--max-connections", "5", "--worker-threads", "2", "--drain-timeout", "15s"])
            .env_clear(),
    )
}

/// Peers that have been served once, and hold all permits.
fn served(address: SocketAddr) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..5).map(|_| Peer::connect(address)).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    }
    peers
}

#[test]
fn a_queue_longer_than_the_limit_of_open_files_is_answered_before_the_end() {
    let backlog = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a Linux host");
    if backlog.trim().parse::<usize>().expect("a number") < BACKLOG {
        skip(&format!("net.core.somaxconn is {}, below {BACKLOG}", backlog.trim()));
        return;
    }
    allow_open_files();
    let mut daemon = start_with_few_files();
    let served = served(daemon.address());
    let mut queued: Vec<Peer> = (0..QUEUED).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut queued {
        peer.send("12345678901\n");
    }
    daemon.signal(Signal::TERM);
    for mut peer in served {
        assert_eq!(peer.rest(), "");
    }
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    // Each is closed before the next one is read from, so that the daemon can close its side as well.
    for peer in queued {
        let mut reply = String::new();
        let end = peer.stream().read_to_string(&mut reply).map_or_else(|error| error.to_string(), |_| reply);
        *ends.entry(end).or_default() += 1;
    }
    assert_eq!(ends, BTreeMap::from([("12345678901\n".to_owned(), QUEUED)]), "how many read what");
    assert_eq!(daemon.wait().code(), Some(0));
    let stopped = daemon.wait_for("stopped");
    assert_eq!((&stopped["forced"], &stopped["large"]), (&0.into(), &QUEUED.into()), "{stopped}");
}
