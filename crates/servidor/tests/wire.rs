//! The wire protocol: the reply to each request, their order, and when the connection ends.

mod common;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use common::start;
use testkit::{DEADLINE, Daemon, Peer};

/// Checks only the code: the text after it is for people, and may change.
fn assert_error(reply: &str, code: &str) {
    assert!(reply.starts_with(&format!("ERRO {code}: ")), "{reply:?} is no ERRO {code}");
}

fn assert_closed(daemon: &Daemon, peer: &Peer, reason: &str) {
    let name = peer.name();
    let closed = daemon.wait_for_line("the connection closed", |line| {
        line["message"] == "connection closed" && line["peer"] == name.as_str()
    });
    assert_eq!(closed["reason"], reason, "{closed}");
}

#[test]
fn lines_are_answered_by_the_class_of_their_number() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    let thirty = "9".repeat(30);
    let padded = format!("{}7", "0".repeat(60));
    let full = format!("{}{thirty}", " ".repeat(34));
    let cases = [
        ("0", "PAR"),
        ("-0", "PAR"),
        ("+7", "ÍMPAR"),
        ("007", "ÍMPAR"),
        ("-3", "ÍMPAR"),
        (" \t 8\t ", "PAR"),
        ("9999999999", "ÍMPAR"),
        ("00009999999999", "ÍMPAR"),
        ("10000000000", "10000000000"),
        ("+0010000000000", "10000000000"),
        ("-10000000000", "-10000000000"),
        (&thirty, &thirty),
        (&padded, "ÍMPAR"),
        (&full, &thirty),
    ];
    for (number, expected) in cases {
        assert_eq!(peer.ask(format!("{number}\n")), format!("{expected}\n"), "{number:?}");
        if number.len() < 64 {
            assert_eq!(peer.ask(format!("{number}\r\n")), format!("{expected}\n"), "{number:?} and CR LF");
        }
    }
}

#[test]
fn a_rejected_line_gets_its_code_and_keeps_the_connection() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    let long = "1".repeat(31);
    let cases: [(&[u8], &str); 14] = [
        (b"", "vazio"),
        (b"\r", "vazio"),
        (b" \t ", "vazio"),
        (b"abc", "invalido"),
        (b"1 2", "invalido"),
        (b"+", "invalido"),
        (b"--1", "invalido"),
        (b"+ 1", "invalido"),
        (b"1.0", "invalido"),
        (b"12\r\r", "invalido"),
        (b"1\x002", "invalido"),
        ("\u{661}".as_bytes(), "invalido"),
        (b"\xff\xfe", "invalido"),
        (long.as_bytes(), "longo"),
    ];
    for (line, code) in cases {
        let reply = peer.ask([line, b"\n"].concat());
        assert_error(&reply, code);
        assert!(reply.ends_with('\n'), "{reply:?}");
        assert_eq!(peer.ask("2\n"), "PAR\n", "after {line:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    let numbers: Vec<u64> = (0..3000).map(|index| 9_999_998_500 + index).collect();
    let lines: Vec<_> = numbers.iter().map(u64::to_string).collect();
    peer.send(lines.join("\n") + "\n");
    for number in numbers {
        let expected = match number {
            10_000_000_000.. => number.to_string(),
            even if even % 2 == 0 => String::from("PAR"),
            _ => String::from("ÍMPAR"),
        };
        assert_eq!(peer.line(), format!("{expected}\n"), "{number}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let daemon = start(&["--unterminated-wait", "4s"]);
    let mut peer = Peer::connect(daemon.address());
    for _ in 0..2 {
        for byte in b"12345678901\r\n" {
            peer.send([*byte]);
        }
        assert_eq!(peer.line(), "12345678901\n");
    }
}

#[test]
fn an_over_long_line_ends_the_connection() {
    let daemon = start(&[]);
    let digits = "1".repeat(65);
    for request in [digits.clone(), format!("{digits}\n"), format!("{}\r\n2\n", &digits[1..])] {
        let mut peer = Peer::connect(daemon.address());
        // What came before it is answered first.
        peer.send(format!("2\n{request}"));
        assert_eq!(peer.line(), "PAR\n");
        let rest = peer.rest();
        assert_error(&rest, "longo");
        assert_eq!(rest.lines().count(), 1, "{rest:?} to {request:?}");
        assert!(rest.ends_with('\n'), "{rest:?} to {request:?}");
        assert_closed(&daemon, &peer, "oversize");
    }
}

#[test]
fn first_bytes_without_a_line_end_are_one_request() {
    let daemon = start(&[]);
    for (request, expected) in [("12", "PAR"), (" -3 ", "ÍMPAR"), ("12345678901", "12345678901")] {
        let mut silent = Peer::connect(daemon.address());
        silent.send(request);
        assert_eq!(silent.rest(), expected, "{request:?} and silence");
        assert_closed(&daemon, &silent, "unterminated");

        let mut finished = Peer::connect(daemon.address());
        finished.send(request);
        finished.finish();
        assert_eq!(finished.rest(), expected, "{request:?} and the end");
        assert_closed(&daemon, &finished, "unterminated");
    }
    let mut wrong = Peer::connect(daemon.address());
    wrong.send("Q");
    let reply = wrong.rest();
    assert_error(&reply, "invalido");
    assert!(!reply.contains('\n'), "{reply:?}");
}

#[test]
fn unterminated_bytes_that_come_in_pieces_are_one_request() {
    let daemon = start(&["--unterminated-wait", "4s"]);
    let mut peer = Peer::connect(daemon.address());
    peer.send("1");
    peer.send("2");
    peer.send("3");
    peer.finish();
    assert_eq!(peer.rest(), "ÍMPAR");
}

#[test]
fn a_tail_at_the_end_is_answered_as_a_line() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    peer.send("2\n3");
    peer.finish();
    assert_eq!(peer.rest(), "PAR\nÍMPAR\n");
    assert_closed(&daemon, &peer, "client");
}

#[test]
fn a_later_tail_waits_for_its_end() {
    // A silence ends only the first request of a connection.
    let daemon = start(&["--unterminated-wait", "1ms"]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    peer.send("12345");
    peer.stream().set_read_timeout(Some(Duration::from_millis(200))).expect("above zero");
    let silence = peer.stream().read(&mut [0]).expect_err("no reply to half a line");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    peer.stream().set_read_timeout(Some(DEADLINE)).expect("above zero");
    assert_eq!(peer.ask("67890123\n"), "1234567890123\n");
}

#[test]
fn a_peer_that_sends_nothing_and_closes_gets_no_reply() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    peer.finish();
    assert_eq!(peer.rest(), "");
    assert_closed(&daemon, &peer, "client");
}
