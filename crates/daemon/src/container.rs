//! Logs why the published ports of a container do not work.

use std::fs;
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
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    if tables.iter().flat_map(|table| table.lines()).all(|line| !listens_beyond_loopback(line)) {
        let hint = "published ports lead to the container's own address: use --network host, or let listen and \
                    metrics-listen be 0.0.0.0:PORT, and allow and metrics-allow the networks of the clients";
        tracing::info!(hint, "listening on loopback only");
    }
}

/// Whether a line of the table shows a socket that listens on an address other than loopback.
fn listens_beyond_loopback(line: &str) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let (Some(local), Some(_remote), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    state == LISTEN && !is_loopback(local.split(':').next().unwrap_or_default())
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
    use super::*;

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
            let line = format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000");
            assert_eq!(listens_beyond_loopback(&line), expected, "{line}");
        }
        assert!(!listens_beyond_loopback("  sl  local_address rem_address   st tx_queue rx_queue"));
    }
}
