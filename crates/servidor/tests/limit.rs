//! The limit of connections: which peers wait, which are refused, and what the counters say.

mod common;

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use common::start;
use testkit::{DEADLINE, Daemon, Metrics, Peer, scrape, scrape_until, wait_until};

/// Five peers, each of which has been served once and stays.
fn five_served(address: SocketAddr) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..5).map(|_| Peer::connect(address)).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    }
    peers
}

fn active(metrics: &Metrics) -> u64 {
    metrics.count("servidor_connections_active", &[])
}

#[test]
fn the_sixth_is_connected_and_waits_until_one_leaves() {
    let daemon = start(&[]);
    let metrics_address = daemon.metrics_address();
    let mut served = five_served(daemon.address());
    let mut sixth = Peer::connect(daemon.address());
    sixth.send("2\n");

    sixth.stream().set_read_timeout(Some(Duration::from_millis(300))).expect("above zero");
    let silence = sixth.stream().read(&mut [0]).expect_err("no place is free");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    let metrics = scrape(metrics_address);
    assert_eq!(metrics.count("servidor_connections_limit", &[]), 5);
    assert_eq!(active(&metrics), 5);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 5);
    for peer in &mut served {
        assert_eq!(peer.ask("8\n"), "PAR\n", "peers with a permit are served meanwhile");
    }

    served.pop();
    sixth.stream().set_read_timeout(Some(DEADLINE)).expect("above zero");
    assert_eq!(sixth.line(), "PAR\n");
    let metrics = scrape(metrics_address);
    assert_eq!(active(&metrics), 5);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 6);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "client")]), 1);
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "overload")]), 0);

    drop((served, sixth));
    let metrics = scrape_until(metrics_address, "all have left", |metrics| active(metrics) == 0);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "client")]), 6);
}

#[test]
fn a_released_permit_is_used_whichever_event_loop_had_it() {
    let daemon = start(&["--worker-threads", "3"]);
    let mut served = VecDeque::from(five_served(daemon.address()));
    for _ in 0..15 {
        let mut next = Peer::connect(daemon.address());
        next.send("2\n");
        served.pop_front();
        assert_eq!(next.line(), "PAR\n");
        served.push_back(next);
    }
}

#[test]
fn connections_are_shared_out_among_event_loops() {
    let daemon = start(&["--worker-threads", "3", "--max-connections", "9"]);
    let mut peers: Vec<Peer> = (0..9).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("7\n"), "ÍMPAR\n");
    }
    assert_eq!(connections_by_event_loop(daemon.id()), [3, 3, 3]);
}

/// What each event loop's epoll instance watches, according to the kernel: proc_pid_fdinfo(5).
fn connections_by_event_loop(process: u32) -> Vec<usize> {
    let folder = format!("/proc/{process}/fdinfo");
    let descriptors = fs::read_dir(folder).expect("the daemon is running");
    let counts = descriptors.filter_map(|descriptor| {
        let info = fs::read_to_string(descriptor.expect("an entry").path()).ok()?;
        let data = info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_once("data:"));
        let data = data.map(|(_, rest)| rest.split_whitespace().next().expect("a number"));
        let data: Vec<u64> = data.map(|data| u64::from_str_radix(data, 16).expect("hexadecimal")).collect();
        // Each watches its waker, and the runtime's instance does not. The first one watches a listener too.
        data.contains(&u64::MAX).then(|| data.iter().filter(|data| **data < 1 << 63).count())
    });
    counts.collect()
}

#[test]
fn the_sixth_is_refused_if_overload_is_refuse() {
    let daemon = start(&["--overload", "refuse"]);
    let metrics_address = daemon.metrics_address();
    let mut served = five_served(daemon.address());

    for refused in 1..=2 {
        let reply = Peer::connect(daemon.address()).rest();
        assert!(reply.starts_with("ERRO ocupado: ") && reply.ends_with('\n'), "{reply:?}");
        let metrics = scrape(metrics_address);
        assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "overload")]), refused);
    }
    let metrics = scrape(metrics_address);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 5);
    assert_eq!(active(&metrics), 5);

    served.pop();
    scrape_until(metrics_address, "a place is free", |metrics| active(metrics) == 4);
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    assert_eq!(scrape(metrics_address).count("servidor_connections_total", &[]), 6);
}

#[test]
fn a_refused_peer_that_had_already_asked_reads_the_refusal() {
    let daemon = start(&["--overload", "refuse", "--max-connections", "1"]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    for _ in 0..20 {
        let mut refused = Peer::connect(daemon.address());
        refused.send("2\n");
        let reply = refused.rest();
        assert!(reply.starts_with("ERRO ocupado: ") && reply.ends_with('\n'), "{reply:?}");
    }
    assert_eq!(served.ask("3\n"), "ÍMPAR\n");
}

#[test]
fn a_permit_is_free_as_soon_as_the_reply_is_sent() {
    let daemon = start(&["--max-connections", "1", "--unterminated-wait", "1ms"]);
    let mut held = Vec::new();
    // More than may linger. Each of these stays open on its side.
    for _ in 0..80 {
        let mut peer = Peer::connect(daemon.address());
        peer.send("2");
        assert_eq!(peer.rest(), "PAR");
        held.push(peer);
    }
    let metrics = scrape_until(daemon.metrics_address(), "the last has left", |metrics| active(metrics) == 0);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 80);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "unterminated")]), 80);
}

#[test]
fn running_out_of_files_is_counted_and_the_daemon_recovers() {
    let daemon = start(&[]);
    let metrics_address = daemon.metrics_address();
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");

    daemon.limit_open_files(0);
    let mut waiting = Peer::connect(daemon.address());
    waiting.send("3\n");
    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
    assert_eq!(served.ask("4\n"), "PAR\n", "open connections are served meanwhile");

    daemon.limit_open_files(512);
    assert_eq!(waiting.line(), "ÍMPAR\n");
    let metrics = scrape(metrics_address);
    assert!(metrics.count("servidor_accept_errors_total", &[]) > 0);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 2);
}

#[test]
fn the_soft_limit_of_open_files_is_raised_for_all_permits() {
    let daemon = Daemon::spawn(
        Command::new("sh")
            .args(["-c", "ulimit -Sn 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_servidor")])
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--max-connections", "100"])
            .env_clear(),
    );
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut peers {
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(active(&metrics), 100);
    assert!(metrics.count("process_max_fds", &[]) > 100);
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 0);
}

/// Connects, asks for one reply, and waits for no more.
fn asking_once(address: SocketAddr) -> Peer {
    let mut peer = Peer::connect(address);
    peer.send("2\n");
    peer.finish();
    peer
}

#[test]
fn a_long_queue_of_one_listener_leaves_permits_to_another() {
    for busy in [0, 1] {
        let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"];
        let daemon = start(&[&listen[..], &["--allow", "0.0.0.0/0,::/0", "--max-connections", "1"]].concat());
        wait_until("both listen", || daemon.lines_with("listening").len() == 2);
        let lines = daemon.lines_with("listening");
        let addresses = lines.iter().map(|line| line["address"].as_str().expect("text"));
        let addresses: Vec<SocketAddr> = addresses.map(|text| text.parse().expect("an address")).collect();
        let mut served = Peer::connect(addresses[busy]);
        assert_eq!(served.ask("2\n"), "PAR\n");
        let queue: Vec<Peer> = (0..5).map(|_| asking_once(addresses[busy])).collect();
        let mut other = asking_once(addresses[1 - busy]);
        drop(served);
        assert_eq!(other.rest(), "PAR\n");
        for mut peer in queue {
            assert_eq!(peer.rest(), "PAR\n");
        }
        wait_until("all are logged", || daemon.lines_with("connection established").len() == 7);
        let served = daemon.lines_with("connection established");
        let place = served.iter().position(|line| line["peer"] == other.name().as_str());
        assert!(
            place.is_some_and(|place| (1..=2).contains(&place)),
            "served as number {place:?} of {served:?}"
        );
    }
}
