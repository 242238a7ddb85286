//! Errors of recv(2), send(2) and epoll_wait(2): one of a connection ends that connection only, and one that only a bug can
//! cause ends the daemon.

mod common;

use std::thread;

use common::{EVENT_LOOP, start};
use testkit::{Daemon, Peer, Tracer, scrape_until};

/// What a connection can die of, as recv(2), send(2) and a security module tell it.
const OF_A_CONNECTION: [&str; 13] = [
    "ECONNRESET",
    "ECONNABORTED",
    "EPIPE",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENETDOWN",
    "ENOTCONN",
    "ENOBUFS",
    "ENOMEM",
    "EPERM",
    "EACCES",
    "EIO",
];
const FATAL: [&str; 4] = ["EBADF", "EFAULT", "EINVAL", "ENOTSOCK"];
const WAIT: &str = "epoll_wait,epoll_pwait,epoll_pwait2";

/// A daemon with one event loop, and a peer that has been served.
fn served() -> (Daemon, Peer) {
    let daemon = start(&["--worker-threads", "1", "--log-events-per-second", "1000"]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    (daemon, peer)
}

/// The connection on which `call` fails is closed, counted and logged; another is served on, and a new one right after.
fn assert_ends_one_connection(call: &str) {
    let (daemon, mut bystander) = served();
    for (seen, error) in OF_A_CONNECTION.iter().enumerate() {
        let mut victim = Peer::connect(daemon.address());
        assert_eq!(victim.ask("2\n"), "PAR\n");
        let fault = format!("{call}:error={error}:when=1");
        let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
        victim.send("4\n");
        let closed = daemon.wait_for_line(&fault, |line| {
            line["message"] == "connection closed" && line["reason"] == "io" && line["peer"] == victim.name()
        });
        assert_eq!(closed["level"], "INFO", "{closed}");
        assert_eq!(bystander.ask("3\n"), "ÍMPAR\n", "{fault}");
        assert_eq!(Peer::connect(daemon.address()).ask("12345678901\n"), "12345678901\n", "{fault}");
        assert_eq!(tracer.detach().matches("(INJECTED)").count(), 1, "{fault}");
        let metrics = scrape_until(daemon.metrics_address(), "only the bystander is left", |metrics| {
            metrics.count("servidor_connections_active", &[]) == 1
        });
        let ended = seen as u64 + 1;
        let closed = |reason| metrics.count("servidor_connections_closed_total", &[("reason", reason)]);
        assert_eq!((closed("io"), closed("client")), (ended, ended), "{fault}");
        assert_eq!(metrics.count("servidor_connections_total", &[]), 1 + 2 * ended, "{fault}");
    }
}

#[test]
fn an_error_of_recv_ends_one_connection() {
    assert_ends_one_connection("recvfrom");
}

#[test]
fn an_error_of_send_ends_one_connection() {
    assert_ends_one_connection("sendto");
}

/// While `call` always fails, nobody is served, and nothing spins; then all is as before.
fn assert_no_spin(call: &str, error: &str) {
    let (daemon, mut bystander) = served();
    let fault = format!("{call}:error={error}");
    let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
    for _ in 0..3 {
        let mut victim = Peer::connect(daemon.address());
        victim.send("4\n");
    }
    tracer.assert_no_spin(&fault);
    assert_eq!(tracer.detach().matches("(INJECTED)").count(), 3, "one for each connection");
    assert_eq!(bystander.ask("3\n"), "ÍMPAR\n", "{fault}");
    assert_eq!(Peer::connect(daemon.address()).ask("4\n"), "PAR\n", "{fault}");
}

#[test]
fn an_error_that_all_connections_have_makes_nothing_spin() {
    thread::scope(|scope| {
        for (call, error) in [("recvfrom", "ENOMEM"), ("sendto", "ENOBUFS"), ("sendto", "ENETDOWN")] {
            scope.spawn(move || assert_no_spin(call, error));
        }
    });
}

#[test]
fn an_interrupted_or_needless_call_changes_nothing() {
    for call in ["recvfrom", "sendto", WAIT] {
        for error in ["EINTR", "EAGAIN"] {
            if (call, error) == (WAIT, "EAGAIN") {
                continue;
            }
            let (daemon, mut peer) = served();
            let fault = format!("{call}:error={error}:when=1+2");
            let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
            for _ in 0..5 {
                assert_eq!(peer.ask("3\n4\n"), "ÍMPAR\n", "{fault}");
                assert_eq!(peer.line(), "PAR\n", "{fault}");
            }
            assert!(tracer.failures() > 0, "{fault}: {}", tracer.trace());
            tracer.detach();
        }
    }
}

#[test]
fn an_error_that_only_a_bug_can_cause_ends_the_daemon() {
    let ends = |call: &str, name: &str, error: &str| {
        let (mut daemon, mut peer) = served();
        let fault = format!("{call}:error={error}:when=1");
        let Some(_tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
        // It may have ended already.
        let _ = peer.try_send("4\n");
        assert_eq!(daemon.wait().code(), Some(1), "{fault}");
        let failed = daemon.wait_for("failed");
        let text = failed["error"].as_str().expect("a text");
        assert!(text.starts_with(&format!("an event loop failed: {name}")), "{fault}: {text}");
        assert!(text.contains(" (os error "), "{fault}: {text}");
    };
    let ends = &ends;
    thread::scope(|scope| {
        for error in FATAL {
            for (call, name) in [("recvfrom", "recv: "), ("sendto", "send: "), (WAIT, "")] {
                scope.spawn(move || ends(call, name, error));
            }
        }
    });
}
