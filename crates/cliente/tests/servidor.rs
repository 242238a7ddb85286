//! Against our own server, which runs in this process.

mod support;

use std::net::SocketAddr;

use support::wait_for_rounds;
use testkit::{Daemon, Peer, scrape};

fn serve(host: &str, arguments: &[&str]) -> SocketAddr {
    support::servidor::serve(host, arguments).0
}

fn ask(target: SocketAddr, arguments: &[&str]) -> Daemon {
    let target = target.to_string();
    support::daemon(&[&["--target", &target], arguments].concat())
}

#[test]
fn rounds_on_fresh_connections_are_right() {
    let target = serve("127.0.0.1", &[]);
    let daemon = ask(target, &["--interval", "5ms", "--log-events-per-second", "1000"]);
    let rounds = wait_for_rounds(&daemon, 100);
    for class in ["large", "even", "odd"] {
        assert!(rounds.iter().any(|line| line["class"] == class), "{class}");
    }
    assert_eq!(daemon.lines_with("round failed").len(), 0);
    let metrics = scrape(daemon.metrics_address());
    let connections = metrics.count("cliente_connections_total", &[("server", &target.to_string())]);
    assert!(connections >= 100, "{connections}");
}

#[test]
fn rounds_on_a_kept_connection_are_right() {
    let target = serve("127.0.0.1", &[]);
    let daemon =
        ask(target, &["--interval", "5ms", "--log-events-per-second", "1000", "--connection", "kept"]);
    wait_for_rounds(&daemon, 100);
    assert_eq!(daemon.lines_with("round failed").len(), 0);
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("cliente_connections_total", &[("server", &target.to_string())]), 1);
}

#[test]
fn a_kept_connection_that_the_server_finds_idle_is_made_anew() {
    // Long enough for a request on a new connection, and far from the next round.
    let target = serve("127.0.0.1", &["--idle-timeout", "2s"]);
    let daemon = ask(target, &["--interval", "6s", "--connection", "kept"]);
    let rounds = wait_for_rounds(&daemon, 2);
    assert!(rounds.iter().all(|line| line["connect_us"].is_u64()), "{rounds:?}");
    assert_eq!(daemon.lines_with("round failed").len(), 0);
}

#[test]
fn a_full_server_that_refuses_is_a_server_error() {
    let target = serve("127.0.0.1", &["--max-connections", "1", "--overload", "refuse"]);
    let mut first = Peer::connect(target);
    assert_eq!(first.ask("1\n"), "ÍMPAR\n");
    let failed = ask(target, &["--interval", "1h"]).wait_for("round failed");
    assert_eq!(failed["reason"], "server_error");
    let error = failed["error"].as_str().expect("a text");
    assert!(error.starts_with("the server answered \"ERRO ocupado: "), "{error}");
}

#[test]
fn a_full_server_that_lets_wait_is_a_reply_timeout() {
    let target = serve("127.0.0.1", &["--max-connections", "1"]);
    let mut first = Peer::connect(target);
    assert_eq!(first.ask("1\n"), "ÍMPAR\n");
    let failed = ask(target, &["--interval", "1h", "--reply-timeout", "300ms"]).wait_for("round failed");
    assert_eq!(failed["reason"], "reply_timeout");
}

#[test]
fn ipv6_and_names() {
    let target = serve("[::1]", &[]);
    let completed = ask(target, &["--interval", "1h"]).wait_for("round completed");
    assert_eq!(completed["server"], target.to_string());

    let target = format!("localhost:{}", serve("127.0.0.1", &[]).port());
    let daemon = support::daemon(&["--target", &target, "--interval", "1h"]);
    assert_eq!(daemon.wait_for("round completed")["server"], target);
}
