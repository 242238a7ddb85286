//! The HTTP side with clients that send no request, and after a stall.

mod common;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::start;
use testkit::{Peer, Stall, scrape};

/// How long the daemon waits for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn a_scrape_is_answered_among_many_clients_that_do_not_ask() {
    let daemon = start(&[]);
    let address = daemon.metrics_address();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                silent.push_back(TcpStream::connect(address).expect("the HTTP side listens"));
                if silent.len() > 100 {
                    silent.pop_front();
                }
            }
        });
        let scrapes = thread::spawn(move || {
            for _ in 0..100 {
                scrape(address);
            }
        });
        let outcome = scrapes.join();
        is_over.store(true, Ordering::Relaxed);
        outcome.expect("every scrape is answered");
    });
}

#[test]
fn a_request_that_arrives_during_a_stall_is_answered() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.metrics_address());
    peer.send("GET /-/healthy HTTP/1.1\r\n");
    peer.wait_until_read();
    let stall = Stall::stop(&daemon);
    peer.send("Host: localhost\r\n\r\n");
    stall.outlast(HEAD_TIMEOUT);
    drop(stall);
    let answer = peer.rest();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// Found by fuzzing.
#[test]
fn a_client_that_sends_fin_behind_its_request_is_answered() {
    let daemon = start(&[]);
    for path in ["/-/ready", "/metrics", "/"] {
        let mut peer = Peer::connect(daemon.metrics_address());
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        peer.finish();
        let answer = peer.rest();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer:?}");
    }
}
