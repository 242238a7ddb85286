//! What an operator sees: the journal, the status line, the metrics.

use super::support::{
    DAEMONS, await_both_active, drop_in, has_logged, journal, message, metrics as scrape, status_line, undo,
};
use crate::system::machine::{Machine, await_that};

pub(super) fn rounds(machine: &Machine) -> String {
    await_that("a round is completed", || has_logged(machine, "cliente", "round completed"));
    let mut count = 0;
    for daemon in DAEMONS {
        for entry in journal(machine, daemon, "") {
            let message = message(&entry);
            let level = message["level"].as_str().unwrap_or_default().to_ascii_lowercase();
            let priority = match level.as_str() {
                "error" => "3",
                "warn" => "4",
                "info" => "6",
                _ => panic!("an unexpected level: {message}"),
            };
            assert_eq!(entry["PRIORITY"], priority, "{entry}");
            count += 1;
        }
    }
    format!("{count} entries")
}

pub(super) fn warnings(machine: &Machine) -> String {
    drop_in(machine, "cliente.service", "[Service]\nEnvironment=CLIENTE_INTERVAL=100ms\n");
    machine.sh("systemctl restart cliente; systemctl stop servidor");
    await_that("a round fails", || has_logged(machine, "cliente", "round failed"));
    let entries = journal(machine, "cliente", "--priority=warning");
    assert!(!entries.is_empty());
    for entry in &entries {
        let message = message(entry);
        assert_eq!(
            message["level"].as_str().map(str::to_ascii_lowercase).as_deref(),
            Some("warn"),
            "{message}"
        );
    }
    undo(machine);
    format!("{} warnings", entries.len())
}

pub(super) fn metrics(machine: &Machine) -> String {
    DAEMONS
        .map(|daemon| {
            let metrics = scrape(machine, daemon);
            let reloaded = metrics.count(&format!("{daemon}_config_last_reload_successful"), &[]);
            assert_eq!(reloaded, 1, "{}", metrics.text);
            let memory = metrics.value("process_resident_memory_bytes", &[]);
            assert!(metrics.value("process_start_time_seconds", &[]) > 0.0, "{}", metrics.text);
            format!("{daemon} in {:.1} MB", memory / 1e6)
        })
        .join(", ")
}

/// The status follows the counts: it must change with the client's rounds.
pub(super) fn status(machine: &Machine) -> String {
    drop_in(machine, "cliente.service", "[Service]\nEnvironment=CLIENTE_INTERVAL=100ms\n");
    machine.sh("systemctl restart servidor cliente");
    await_both_active(machine);
    let first = DAEMONS.map(|daemon| status_line(machine, daemon));
    await_that("both status lines follow the counts", || {
        DAEMONS.iter().zip(&first).all(|(daemon, first)| status_line(machine, daemon) != *first)
    });
    let seen = DAEMONS.map(|daemon| status_line(machine, daemon));
    assert!(seen[0].contains(" of 5 connections, "), "{}", seen[0]);
    assert!(seen[1].contains("0.0 % loss") && seen[1].contains("last: 127.0.0.1:8888 in "), "{}", seen[1]);
    undo(machine);
    seen.join(" | ")
}
