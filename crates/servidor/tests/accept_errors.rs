//! Errors of accept(2) and epoll_ctl(2): those that last pause the listener, those of one connection delay no other, and
//! those that only a bug can cause end the daemon.

mod common;

use std::net::TcpListener;
use std::thread;

use common::{EVENT_LOOP, start, start_inheriting};
use socket2::SockRef;
use testkit::{Peer, Tracer, assert_http_side_recovers, scrape};

/// Errors that leave the connection in the queue.
const OF_THE_HOST: [&str; 10] = [
    "EMFILE",
    "ENFILE",
    "ENOBUFS",
    "ENOMEM",
    "EPERM",
    "EACCES",
    "EIO",
    "ENOSR",
    "ESOCKTNOSUPPORT",
    "EPROTONOSUPPORT",
];
/// Errors of the connection that would have been accepted.
const OF_A_CONNECTION: [&str; 12] = [
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENONET",
    "ENOPROTOOPT",
    "EOPNOTSUPP",
    "EPROTO",
    "ETIMEDOUT",
];
/// What only a bug, or somebody who shuts the socket down, can cause.
const FATAL: [&str; 4] = ["EBADF", "EFAULT", "EINVAL", "ENOTSOCK"];

fn for_each(errors: &[&str], assert: impl Fn(&str) + Sync) {
    let assert = &assert;
    thread::scope(|scope| {
        for error in errors {
            scope.spawn(move || assert(error));
        }
    });
}

/// An error that lasts pauses the listener. It is counted and logged, and the daemon recovers when it is gone.
fn assert_paused_for(error: &str) {
    let daemon = start(&[]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    let fault = format!("accept4:error={error}");
    let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
    let mut waiting = Peer::connect(daemon.address());
    waiting.send("3\n");
    tracer.assert_no_spin(&fault);
    assert_eq!(served.ask("4\n"), "PAR\n", "open connections are served meanwhile");
    scrape(daemon.metrics_address());
    let failures = tracer.detach().matches("(INJECTED)").count() as u64;
    // A call that strace has left half done fails as well.
    let failures = failures..=failures + 1;

    assert_eq!(waiting.line(), "ÍMPAR\n");
    assert_eq!(Peer::connect(daemon.address()).ask("5\n"), "ÍMPAR\n");
    let metrics = scrape(daemon.metrics_address());
    let counted = metrics.count("servidor_accept_errors_total", &[]);
    assert!(failures.contains(&counted), "each {error} is counted: {counted}, {failures:?}");
    assert_eq!(metrics.count("servidor_connections_total", &[]), 3, "{error}");
    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
}

#[test]
fn an_error_that_lasts_pauses_the_listener_and_it_recovers() {
    for_each(&OF_THE_HOST, assert_paused_for);
}

#[test]
fn an_error_of_one_connection_that_meets_all_of_them_pauses_the_listener_and_it_recovers() {
    for_each(&OF_A_CONNECTION, assert_paused_for);
}

/// An error of the first connection in the queue: the next connection is accepted without a pause.
fn assert_not_paused_for(error: &str) {
    let daemon = start(&["--worker-threads", "1"]);
    let fault = format!("accept4:error={error}:when=1");
    let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    let trace = tracer.detach();

    assert_eq!(trace.matches("(INJECTED)").count(), 1, "{error}: {trace}");
    let after = trace.lines().skip_while(|line| !line.contains("(INJECTED)")).skip(1);
    let between: Vec<&str> = after.take_while(|line| !line.contains("accept4(")).collect();
    assert!(!between.iter().any(|line| is_pause(line)), "{error}: {between:#?}");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 1, "{error}");
}

/// Whether a line of the trace is a wait that ended by its timeout: `…[], 256, 100, NULL, 0) = 0`.
fn is_pause(line: &str) -> bool {
    let Some((_, arguments)) = line.split_once("[], ") else { return false };
    let (_, timeout) = arguments.split_once(", ").expect("the number of events is not the last argument");
    !["0,", "0)", "{tv_sec=0, tv_nsec=0}"].iter().any(|zero| timeout.starts_with(zero))
}

#[test]
fn an_error_of_one_connection_delays_no_other() {
    for_each(&OF_A_CONNECTION, assert_not_paused_for);
}

#[test]
fn an_interrupted_or_needless_call_is_no_error() {
    for_each(&["EINTR", "EAGAIN"], |error| {
        let daemon = start(&["--worker-threads", "1"]);
        let fault = format!("accept4:error={error}:when=1");
        let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
        assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n", "{error}");
        assert_eq!(tracer.detach().matches("(INJECTED)").count(), 1, "{error}");
        let metrics = scrape(daemon.metrics_address());
        assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 0, "{error}");
    });
}

#[test]
fn an_error_that_only_a_bug_can_cause_ends_the_daemon() {
    for_each(&FATAL, |error| {
        let mut daemon = start(&[]);
        let fault = format!("accept4:error={error}");
        let Some(_tracer) = Tracer::attach(&daemon, EVENT_LOOP, &fault) else { return };
        let _peer = Peer::connect(daemon.address());
        assert_eq!(daemon.wait().code(), Some(1), "{error}");
        let failed = daemon.wait_for("failed");
        let text = failed["error"].as_str().expect("a text");
        let expected = format!("an event loop failed: {} does not listen any more: ", daemon.address());
        assert!(text.starts_with(&expected), "{error}: {text}");
    });
}

#[test]
fn the_http_side_pauses_and_recovers_or_ends_the_daemon_as_well() {
    assert_http_side_recovers("servidor", || start(&[]));
}

#[test]
fn a_listener_that_cannot_be_watched_is_tried_again() {
    let everyone = ["--allow", "0.0.0.0/0,::/0"];
    let daemon = start(&[&["--max-connections", "1", "--worker-threads", "1"], &everyone[..]].concat());
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    // The listener is not watched while the only permit is taken, since there are no strangers to look for.
    let Some(tracer) = Tracer::attach(&daemon, EVENT_LOOP, "epoll_ctl:error=ENOSPC:when=1") else { return };
    let mut waiting = Peer::connect(daemon.address());
    drop(served);
    assert_eq!(waiting.ask("3\n"), "ÍMPAR\n");
    let trace = tracer.detach();
    assert_eq!(trace.matches("(INJECTED)").count(), 1, "{trace}");

    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
    let expected = format!("cannot watch {}: No space left on device (os error 28)", daemon.address());
    assert_eq!(failed["error"], expected.as_str(), "{failed}");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 1);
}

#[test]
fn a_listener_that_was_shut_down_from_outside_ends_the_daemon() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let handed_over = listener.try_clone().expect("a socket can be cloned");
    let mut daemon = start_inheriting(handed_over.into(), &[]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both).expect("it listens");
    assert_eq!(daemon.wait().code(), Some(1), "a restart binds it anew");
    let failed = daemon.wait_for("failed");
    assert_eq!(failed["level"], "ERROR", "{failed}");
}
