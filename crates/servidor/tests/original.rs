//! The clients of the original exercise, and of similar ones, work with this server.

mod common;

use std::process::Command;

use common::start;
use testkit::{Daemon, Peer, scrape, scrape_until, tool};

const THIRTY_DIGITS: &str = "987654321098765432109876543210";

/// What a client of this kind prints, or nothing where there is no Python.
fn print_of(daemon: &Daemon, kind: &str, messages: &[&str]) -> Option<String> {
    let python = tool("python3")?;
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original_client.py"))
        .args([&daemon.address().port().to_string(), kind])
        .args(messages)
        .output()
        .expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn every_class_is_answered_without_a_line_end() {
    let daemon = start(&[]);
    let numbers = ["12", "7", "0", "1234567890", "12345678901", THIRTY_DIGITS];
    let Some(print) = print_of(&daemon, "original", &numbers) else { return };
    let expected = format!("PAR FIM\nÍMPAR FIM\nPAR FIM\nPAR FIM\n12345678901 FIM\n{THIRTY_DIGITS} FIM\n");
    assert_eq!(print, expected);

    let metrics = scrape_until(daemon.metrics_address(), "all have left", |metrics| {
        metrics.count("servidor_connections_active", &[]) == 0
    });
    assert_eq!(metrics.count("servidor_numbers_total", &[("class", "even")]), 3);
    assert_eq!(metrics.count("servidor_numbers_total", &[("class", "odd")]), 1);
    assert_eq!(metrics.count("servidor_numbers_total", &[("class", "large")]), 2);
    assert_eq!(metrics.count("servidor_connections_closed_total", &[("reason", "unterminated")]), 6);
}

#[test]
fn a_client_that_closes_its_sending_side_gets_the_same_answer() {
    // A silence long enough to fail the test: it is the half-close that must end the request.
    let daemon = start(&["--unterminated-wait", "4s"]);
    let Some(print) = print_of(&daemon, "half-close", &["12", "7", THIRTY_DIGITS]) else { return };
    assert_eq!(print, format!("PAR FIM\nÍMPAR FIM\n{THIRTY_DIGITS} FIM\n"));
    for line in daemon.lines_with("connection closed") {
        assert!(line["duration_ms"].as_f64().expect("a number") < 4000.0, "{line}");
    }
}

#[test]
fn a_random_string_in_place_of_a_number_gets_a_clear_error() {
    let daemon = start(&[]);
    let Some(print) = print_of(&daemon, "original", &["Q", "12 13", "12.5"]) else { return };
    let answers: Vec<&str> = print.lines().collect();
    assert_eq!(answers.len(), 3, "{print}");
    for answer in answers {
        assert!(answer.starts_with("ERRO invalido: ") && answer.ends_with(" FIM"), "{answer}");
    }
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
}

#[test]
fn a_second_message_after_the_reply_does_no_harm() {
    let daemon = start(&[]);
    // The connection has ended at the first reply: the second recv takes an end of file, and no reset.
    let Some(print) = print_of(&daemon, "one-connection", &["12", "obrigado"]) else { return };
    assert_eq!(print, "PAR FIM\n FIM\n");
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    assert_eq!(
        scrape(daemon.metrics_address()).count("servidor_requests_rejected_total", &[("reason", "invalid")]),
        0
    );
}

#[test]
fn several_numbers_on_one_connection_are_served_if_line_ends_separate_them() {
    let daemon = start(&[]);
    let Some(print) = print_of(&daemon, "one-connection", &["12\n", "7\n", "8\n"]) else { return };
    assert_eq!(print, "PAR\n FIM\nÍMPAR\n FIM\nPAR\n FIM\n");
}
