//! A request costs one read and one write, as counted by strace.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::start;
use testkit::{Peer, Signal, send_signal, tool, wait_for_exit, wait_until};

const REQUESTS: usize = 1000;

#[test]
fn a_request_is_one_read_and_one_write() {
    let Some(strace) = tool("strace") else { return };
    let daemon = start(&["--worker-threads", "1", "--log-events-per-second", "0"]);
    let mut peer = Peer::connect(daemon.address());
    peer.ask("1\n");

    let folder = tempfile::tempdir().expect("a folder for the trace");
    let trace = folder.path().join("trace");
    let mut tracer = Command::new(strace)
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args(["-p", &daemon.id().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("strace starts");
    let read_trace = || fs::read_to_string(&trace).unwrap_or_default();
    wait_until("strace has taken hold", || {
        Peer::connect(daemon.address()).ask("1\n");
        read_trace().contains("sendto(")
    });
    for _ in 0..REQUESTS {
        assert_eq!(peer.ask("7777777\n"), "ÍMPAR\n");
    }
    peer.ask("8888888\n");
    wait_until("the last request is in the trace", || read_trace().contains(r#""8888888\n""#));
    send_signal(&tracer, Signal::INT);
    wait_for_exit(&mut tracer);

    let trace = read_trace();
    let calls: Vec<(&str, &str)> = trace.lines().filter_map(call).collect();
    let position = |request| calls.iter().position(|(_, line)| line.contains(request)).expect("it was read");
    let calls = &calls[position("7777777")..position("8888888")];
    let count = |name: &str| calls.iter().filter(|(call, _)| *call == name).count();
    assert_eq!(count("recvfrom"), REQUESTS, "reads");
    assert_eq!(count("sendto"), REQUESTS, "writes");
    // A wait for each request, and what each second of the time that this took brings with it.
    let others = calls.len().saturating_sub(3 * REQUESTS);
    assert!(others <= REQUESTS / 10, "{others} calls beside a read, a write and a wait for each request");
}

/// The call that a line begins, `PID NAME(…`, by its name. One that is resumed has been named before.
fn call(line: &str) -> Option<(&str, &str)> {
    let name = line.trim_start().split_once(' ')?.1.trim_start().split_once('(')?.0;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((name, line))
}
