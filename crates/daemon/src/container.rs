//! Logs why the published ports of a container do not work.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Docker creates this file in each container.
const MARK: &str = "/.dockerenv";
/// The state LISTEN in the kernel's socket tables.
const LISTEN: &str = "0A";

/// Logs a hint if this is a Docker container and nothing in its network namespace listens beyond loopback: then no published
/// port works. Where the container shares the host's network, the host usually has such listeners.
pub(crate) fn explain_loopback() {
    if !Path::new(MARK).exists() {
        return;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(File::open);
    if !tables.into_iter().flatten().any(|table| has_listener_beyond_loopback(BufReader::new(table))) {
        let hint = "published ports lead to the container's own address: use --network host, or let listen and \
                    metrics-listen be 0.0.0.0:PORT, and allow and metrics-allow the networks of the clients";
        tracing::info!(hint, "listening on loopback only");
    }
}

/// Whether a socket in `table` listens on an address other than loopback.
///
/// The kernel lists listeners first. What comes after them is not read: with many connections that takes seconds.
fn has_listener_beyond_loopback(table: impl BufRead) -> bool {
    let lines = table.lines().skip(1).map_while(Result::ok);
    let mut listeners = lines.map_while(|line| listener(&line).map(is_loopback));
    listeners.any(|is_loopback| !is_loopback)
}

/// The address of the socket in this line, if it listens.
fn listener(line: &str) -> Option<&str> {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    if state == LISTEN { local.split(':').next() } else { None }
}

/// The kernel prints an address as hexadecimal words of 32 bits, in the processor's byte order.
fn is_loopback(address: &str) -> bool {
    let Ok(word) = u32::from_str_radix(&address[address.len().saturating_sub(8)..], 16) else { return false };
    let last = word.to_ne_bytes();
    match address.len() {
        8 => last[0] == 127,
        _ => last == [0, 0, 0, 1] && address.starts_with(&"0".repeat(24)),
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use std::fmt::Write as _;
    use std::io::Read as _;

    use super::*;

    const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue";

    fn table(sockets: &[(&str, &str)]) -> String {
        let mut table = HEADER.to_owned();
        for (local, state) in sockets {
            write!(table, "\n   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000")
                .expect("a string has room");
        }
        table
    }

    #[test]
    fn only_listeners_beyond_loopback_count() {
        for (local, state, expected) in [
            ("0100007F:22B8", "0A", false),
            ("0B00007F:9D3B", "0A", false),
            ("00000000:22B8", "0A", true),
            ("020011AC:22B8", "0A", true),
            ("020011AC:22B8", "01", false),
            ("00000000000000000000000001000000:22B8", "0A", false),
            ("00000000000000000000000000000000:22B8", "0A", true),
            ("000080FE00000000FF57A8C001000000:22B8", "0A", true),
        ] {
            let table = table(&[("0100007F:0016", "0A"), (local, state)]);
            assert_eq!(has_listener_beyond_loopback(table.as_bytes()), expected, "{table}");
        }
        assert!(!has_listener_beyond_loopback(HEADER.as_bytes()));
    }

    #[test]
    fn the_table_is_read_only_as_far_as_there_are_listeners() {
        let listeners = table(&[("0100007F:22B8", "0A"), ("0100007F:C001", "06")]) + "\n";
        let mut table = listeners.as_bytes().chain("connections".as_bytes());
        assert!(!has_listener_beyond_loopback(&mut table));
        assert_eq!(table.into_inner().1, b"connections");
    }
}
