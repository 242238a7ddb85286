//! Each way in which a round can fail, as logs and metrics of the real daemon tell it.

mod support;

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use support::{REASONS, held, honest, serve};
use testkit::scrape;

/// Bound, but not listening.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    (socket, address)
}

#[test]
fn each_reason_is_logged_and_counted() {
    let (_refusing, refused) = refusing();
    let (silent, _unanswered) = held();
    let servers = [
        (refused.to_string(), "refused", "Connection refused"),
        ("servidor.invalid:8888".to_owned(), "resolve", "cannot be resolved"),
        ("255.255.255.255:8888".to_owned(), "unreachable", "unreachable"),
        (silent.to_string(), "reply_timeout", "no whole reply within 2s"),
        (serve(support::Asked::reset).to_string(), "reset", "reset by peer"),
        (serve(drop).to_string(), "closed", "closed the connection without a reply"),
        (serve(|mut asked| asked.say(b"IMPAR\n")).to_string(), "wrong_reply", r#"received "IMPAR\n""#),
        (
            serve(|mut asked| asked.say("ERRO ocupado: mais tarde\n".as_bytes())).to_string(),
            "server_error",
            r#"answered "ERRO ocupado: mais tarde""#,
        ),
    ];
    let honest = honest().to_string();
    let targets = servers.iter().map(|(server, ..)| server.as_str()).chain([honest.as_str()]);
    let targets = targets.collect::<Vec<_>>().join(",");
    let daemon = support::daemon(&["--target", &targets, "--interval", "3s", "--reply-timeout", "2s"]);

    for (server, reason, error) in &servers {
        let line = daemon.wait_for_line(server, |line| line["server"] == *server);
        assert_eq!((&line["message"], &line["level"]), (&"round failed".into(), &"WARN".into()), "{line}");
        assert_eq!(line["reason"], *reason, "{line}");
        assert!(line["error"].as_str().is_some_and(|text| text.contains(error)), "{line}");
        assert!(line["elapsed_us"].is_u64(), "{line}");
    }
    let right = daemon.wait_for_line("a right reply", |line| line["server"] == honest);
    assert_eq!((&right["message"], &right["level"]), (&"round completed".into(), &"INFO".into()), "{right}");

    let metrics = scrape(daemon.metrics_address());
    let logged = daemon.lines_with("round failed");
    for (server, reason, _) in &servers {
        let failures = |reason| {
            metrics.count("cliente_round_failures_total", &[("server", server.as_str()), ("reason", reason)])
        };
        // Rounds go on: more may have been logged since the scrape.
        let logged = logged.iter().filter(|line| line["server"] == **server).count() as u64;
        assert!((1..=logged).contains(&failures(reason)), "{server} {reason}");
        for other in REASONS.iter().filter(|other| *other != reason) {
            assert_eq!(failures(other), 0, "{server} {other}");
        }
        let failed = failures(reason);
        let server = [("server", server.as_str())];
        let rounds = metrics.count("cliente_rounds_total", &server);
        assert!(rounds == failed || rounds == failed + 1, "one may be under way: {rounds} of {server:?}");
        assert_eq!(metrics.count("cliente_up", &server), 0);
        assert_eq!(metrics.count("cliente_last_success_timestamp_seconds", &server), 0);
        assert_eq!(metrics.count("cliente_round_trip_seconds_count", &server), 0, "{server:?}");
        let connected = !matches!(*reason, "refused" | "resolve" | "unreachable");
        let connections = if connected { failed } else { 0 };
        assert_eq!(metrics.count("cliente_connections_total", &server), connections, "{server:?}");
        assert_eq!(metrics.count("cliente_connect_seconds_count", &server), connections, "{server:?}");
    }
}
