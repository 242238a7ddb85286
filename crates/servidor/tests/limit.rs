//! The limit of connections served at the same time: who waits, who is refused, and what the counters say.

mod common;

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use common::start;
use testkit::{DEADLINE, Daemon, Metrics, Peer, scrape, scrape_until};

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
        assert_eq!(peer.ask("8\n"), "PAR\n", "those who have a place are served meanwhile");
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
fn the_sixth_is_told_so_where_overload_is_refused() {
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
fn a_place_is_free_as_soon_as_its_reply_is_out() {
    let daemon = start(&["--max-connections", "1", "--unterminated-wait", "1ms"]);
    let mut held = Vec::new();
    // More than would be lingered for: each of these stays open on its side.
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
fn running_out_of_files_is_counted_and_got_over() {
    let daemon = start(&[]);
    let metrics_address = daemon.metrics_address();
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");

    daemon.limit_open_files(0);
    let mut waiting = Peer::connect(daemon.address());
    waiting.send("3\n");
    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
    assert_eq!(served.ask("4\n"), "PAR\n", "who is here is served meanwhile");

    daemon.limit_open_files(512);
    assert_eq!(waiting.line(), "ÍMPAR\n");
    let metrics = scrape(metrics_address);
    assert!(metrics.count("servidor_accept_errors_total", &[]) > 0);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 2);
}

#[test]
fn the_soft_limit_of_open_files_makes_room_for_all_places() {
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
