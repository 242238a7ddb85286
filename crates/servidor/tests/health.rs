//! The health check: it ends in time, and says what is wrong.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use common::start;
use testkit::{request, wait_for_exit, wait_until};

/// Asserts that the check of `address` reports that the daemon is not ready, and why.
fn assert_not_ready(address: SocketAddr, why: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    command.args(["--check-health", "--metrics-listen", &address.to_string()]).env_clear();
    let mut check = command.stderr(Stdio::piped()).spawn().expect("the daemon starts");
    let status = wait_for_exit(&mut check);
    let output = check.wait_with_output().expect("it has ended");
    let expected = format!("servidor: not ready: {address}: {why}\n");
    assert_eq!(
        (status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(1), expected.as_str())
    );
}

/// Another program that listens in place of the daemon.
fn impostor(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.expect("a connection"));
        }
    });
    address
}

#[test]
fn a_port_without_a_listener_is_reported() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    assert_not_ready(address.expect("a free port"), "nobody listens there (Connection refused)");
}

#[test]
fn a_silent_port_is_reported_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    assert_not_ready(listener.local_addr().expect("it is bound"), "no answer within 2s");
}

#[test]
fn an_endless_answer_is_reported_in_time() {
    let address = impostor(|mut stream| {
        while stream.write_all(b"H").is_ok() {
            #[expect(clippy::disallowed_methods, reason = "its slowness is what is tested")]
            thread::sleep(std::time::Duration::from_millis(100));
        }
    });
    assert_not_ready(address, "no answer within 2s");
}

#[test]
fn a_connection_that_is_closed_without_an_answer_is_reported() {
    let address = impostor(drop);
    assert_not_ready(
        address,
        "closed without an answer: is this host in metrics-allow of the daemon that runs there?",
    );
}

#[test]
fn another_service_is_reported_with_its_answer() {
    let address = impostor(|mut stream| {
        // A close with the request unread would be a reset, and might overtake the answer.
        assert!(stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0), "a request");
        let _ = stream.write_all(b"SSH-2.0-\x1bOpenSSH\r\n");
    });
    assert_not_ready(address, "no HTTP but \"SSH-2.0-\\u{1b}OpenSSH\"");
}

#[test]
fn this_host_may_ask_for_health_whatever_metrics_allow_says() {
    let daemon = start(&["--metrics-allow", "192.0.2.0/24"]);
    let address = daemon.metrics_address();
    wait_until("it is ready", || request(address, "GET", "/-/ready").status == 200);
    assert_eq!(request(address, "GET", "/-/healthy").status, 200);
    for path in ["/", "/metrics", "/no/such/path"] {
        let refused = request(address, "GET", path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.body.contains("metrics-allow"), "{}", refused.body);
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_servidor"));
    check.args(["--check-health", "--metrics-listen", &address.to_string()]).env_clear();
    assert_eq!(check.status().expect("the daemon starts").code(), Some(0));
}
