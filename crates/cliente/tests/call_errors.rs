//! Errors of system calls: a round fails for the right reason, the next one goes right, and nothing spins.

mod support;

use std::thread;

use support::{daemon, honest};
use testkit::{Daemon, Tracer, assert_http_side_recovers, scrape_until};

/// The thread that makes the rounds, and the one that answers control rounds.
const ROUNDS: &str = "rounds";
const CONTROL: &str = "control";
const WAIT: &str = "epoll_wait,epoll_pwait,epoll_pwait2";

fn start() -> Daemon {
    let target = honest().to_string();
    daemon(&["--target", &target, "--interval", "200ms", "--reply-timeout", "2s", "--connect-timeout", "2s"])
}

/// Makes `calls` of the rounds' thread fail with each error for a second: rounds fail for the reason beside it, at their own
/// pace; then they go right again, and each is counted.
fn assert_rounds_fail(calls: &str, reasons: &[(&str, &str)]) {
    let one = |error: &str, reason: &str| {
        let daemon = start();
        daemon.wait_for("round completed");
        let fault = format!("{calls}:error={error}");
        let Some(tracer) = Tracer::attach(&daemon, ROUNDS, &fault) else { return };
        let failed = daemon.wait_for("round failed");
        assert_eq!(failed["reason"], reason, "{fault}: {failed}");
        assert!(
            failed["error"].as_str().is_some_and(|text| text.contains("(os error ")),
            "{fault}: {failed}"
        );
        tracer.assert_no_spin(&fault);
        tracer.detach();
        let seen = daemon.lines_with("round completed").len();
        daemon.wait_for_another("round completed", seen);
        let metrics = scrape_until(daemon.metrics_address(), "no round is under way", |metrics| {
            let ended = ["numbers", "round_failures", "rounds_disturbed"];
            let ended = ended.map(|name| metrics.sum(&format!("cliente_{name}_total"), &[]));
            ended.iter().sum::<u64>() == metrics.sum("cliente_rounds_total", &[])
        });
        assert!(metrics.sum("cliente_round_failures_total", &[("reason", reason)]) > 0, "{fault}");
    };
    let one = &one;
    thread::scope(|scope| {
        for (error, reason) in reasons {
            scope.spawn(move || one(error, reason));
        }
    });
}

#[test]
fn a_socket_that_cannot_be_made_fails_the_round() {
    let errors = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM", "EAFNOSUPPORT"];
    assert_rounds_fail("socket", &errors.map(|error| (error, "other")));
}

#[test]
fn a_connect_that_fails_fails_the_round() {
    assert_rounds_fail(
        "connect",
        &[
            ("ECONNREFUSED", "refused"),
            ("ECONNRESET", "reset"),
            ("ENETUNREACH", "unreachable"),
            ("EHOSTUNREACH", "unreachable"),
            ("ENETDOWN", "unreachable"),
            ("ETIMEDOUT", "connect_timeout"),
            ("EADDRNOTAVAIL", "other"),
            ("EADDRINUSE", "other"),
            ("EACCES", "other"),
            ("EPERM", "other"),
            ("ENOBUFS", "other"),
        ],
    );
}

#[test]
fn a_send_that_fails_fails_the_round_at_once() {
    assert_rounds_fail(
        "sendto",
        &[
            ("ENETUNREACH", "unreachable"),
            ("EHOSTUNREACH", "unreachable"),
            ("ENETDOWN", "unreachable"),
            ("ETIMEDOUT", "reply_timeout"),
            ("ENOBUFS", "other"),
            ("ENOMEM", "other"),
            ("EACCES", "other"),
            ("EPERM", "other"),
        ],
    );
}

#[test]
fn a_receive_that_fails_fails_the_round() {
    assert_rounds_fail(
        "recvfrom",
        &[
            ("ECONNRESET", "reset"),
            ("ECONNABORTED", "reset"),
            ("ENETUNREACH", "unreachable"),
            ("EHOSTUNREACH", "unreachable"),
            ("ETIMEDOUT", "reply_timeout"),
            ("ENOMEM", "other"),
            ("EACCES", "other"),
        ],
    );
}

#[test]
fn an_interrupted_wait_fails_no_round() {
    let daemon = start();
    let Some(tracer) = Tracer::attach(&daemon, ROUNDS, &format!("{WAIT}:error=EINTR:when=1+2")) else {
        return;
    };
    let seen = daemon.lines_with("round completed").len();
    daemon.wait_for_another("round completed", seen + 2);
    assert!(tracer.failures() > 0, "{}", tracer.trace());
    tracer.detach();
    assert!(daemon.lines_with("round failed").is_empty());
}

#[test]
fn a_thread_that_cannot_wait_any_more_ends_the_daemon() {
    let ends = |thread: &str, error: &str| {
        let mut daemon = start();
        daemon.wait_for("round completed");
        let Some(_tracer) = Tracer::attach(&daemon, thread, &format!("{WAIT}:error={error}")) else { return };
        assert_eq!(daemon.wait().code(), Some(1), "{thread}, {error}");
        let failed = daemon.wait_for("failed");
        assert_eq!(failed["level"], "ERROR", "{failed}");
        let panic = daemon.wait_for("panic");
        assert!(
            panic["reason"].as_str().is_some_and(|text| text.contains("os error") || text.contains("Os {")),
            "{panic}"
        );
    };
    let ends = &ends;
    thread::scope(|scope| {
        for error in ["EBADF", "EFAULT", "EINVAL"] {
            scope.spawn(move || ends(ROUNDS, error));
            scope.spawn(move || ends("cliente", error));
        }
    });
}

#[test]
fn control_rounds_that_cannot_be_accepted_make_nothing_spin_and_recover() {
    let recovers = |error: &str| {
        let daemon = start();
        daemon.wait_for("round completed");
        let fault = format!("accept4:error={error}");
        let Some(tracer) = Tracer::attach(&daemon, CONTROL, &fault) else { return };
        tracer.assert_no_spin(&fault);
        daemon.wait_for("control round failed");
        tracer.detach();
        daemon.wait_for("control round recovered");
        assert!(daemon.lines_with("round failed").is_empty(), "{fault}");
    };
    let recovers = &recovers;
    thread::scope(|scope| {
        for error in ["EMFILE", "ENFILE", "ENOMEM", "EPERM", "ECONNABORTED"] {
            scope.spawn(move || recovers(error));
        }
    });
}

#[test]
fn control_rounds_whose_socket_does_not_listen_end_the_daemon() {
    let ends = |error: &str| {
        let mut daemon = start();
        daemon.wait_for("round completed");
        let Some(_tracer) = Tracer::attach(&daemon, CONTROL, &format!("accept4:error={error}")) else {
            return;
        };
        assert_eq!(daemon.wait().code(), Some(1), "{error}");
        let failed = daemon.wait_for("failed");
        let text = failed["error"].as_str().expect("a text");
        assert!(text.starts_with("control rounds cannot be answered: "), "{text}");
    };
    let ends = &ends;
    thread::scope(|scope| {
        for error in ["EBADF", "EFAULT", "EINVAL", "ENOTSOCK"] {
            scope.spawn(move || ends(error));
        }
    });
}

#[test]
fn the_http_side_pauses_and_recovers_or_ends_the_daemon() {
    assert_http_side_recovers("cliente", start);
}
