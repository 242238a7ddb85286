//! No more files can be opened: connections wait, and the HTTP side, which keeps files in reserve, is answered.

mod common;

use common::start;
use testkit::{Peer, allow_open_files, get, scrape, scrape_until};

/// How many files the HTTP side keeps in reserve.
const IN_RESERVE: u64 = 4;

#[test]
fn a_scrape_is_answered_while_no_files_are_left_and_waiting_connections_are_served_afterwards() {
    allow_open_files();
    let daemon = start(&["--max-connections", "100"]);
    let http = daemon.metrics_address();
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    let limit = daemon.use_up_files();
    let mut waiting: Vec<Peer> = (0..20).map(|_| Peer::connect(daemon.address())).collect();
    for peer in &mut waiting {
        peer.send("3\n");
    }
    daemon.wait_for("accept failed");

    let mut errors = 0;
    for _ in 0..50 {
        let metrics = scrape(http);
        let open = metrics.count("process_open_fds", &[]);
        let really = daemon.open_files();
        assert!(open.abs_diff(really) <= IN_RESERVE, "{open} are said to be open, {really} are");
        assert_eq!(metrics.count("process_max_fds", &[]), limit);
        errors = metrics.count("servidor_accept_errors_total", &[]);
        assert_eq!(get(http, "/-/ready").expect("an answer"), "ready\n");
    }
    assert!(errors > 0, "they are counted");
    assert_eq!(daemon.lines_with("metrics accept failed").len(), 0, "no client of it had to wait");
    assert_eq!(served.ask("4\n"), "PAR\n", "open connections are served meanwhile");

    daemon.limit_open_files(512);
    for peer in &mut waiting {
        assert_eq!(peer.line(), "ÍMPAR\n");
    }
    let metrics = scrape_until(http, "all are counted", |metrics| {
        metrics.count("servidor_connections_total", &[]) == 21
    });
    assert_eq!(metrics.count("servidor_connections_active", &[]), 21);
}
