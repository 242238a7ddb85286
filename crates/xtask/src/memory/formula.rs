//! The most memory that the service can hold, by the formula of SECURITY.md.

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The program, its threads, its buffers, its log and its HTTP side.
const PROGRAM: u64 = 16 * MIB;
/// The kernel's objects for a socket and an open file, and the connection itself.
const CONNECTION: u64 = 6 * KIB;
/// Asked for by the service; the kernel takes twice as much.
const SEND_BUFFER: u64 = 8 * KIB;
const RECEIVE_BUFFER: u64 = 12 * KIB;
/// The replies of one send, and what the kernel adds to them, in whole pages.
const LAST_SEND: u64 = 12 * KIB;
/// What a stalled connection holds in addition.
const MAX_STALLED: u64 = 128;
const READ_SIZE: u64 = 16 * KIB;
const WRITE_SIZE: u64 = 8 * KIB;
/// How many connections wait for a permit outside of the kernel's queue. Nothing is sent to them.
const MAX_HELD: u64 = 16;

/// How many connections the shipped unit is for.
pub(super) const CONNECTIONS: u64 = 3072;

/// The most bytes that may be charged to the service with this many connections.
pub(super) fn worst_case(connections: u64) -> u64 {
    // A send begins while there is room, and is then taken whole.
    let sending = 2 * SEND_BUFFER + LAST_SEND;
    // The kernel takes one packet more once the buffer is full; no packet is larger than half the buffer.
    let receiving = 2 * RECEIVE_BUFFER + RECEIVE_BUFFER;
    let stalled = MAX_STALLED.min(connections) * (READ_SIZE + WRITE_SIZE);
    let held = MAX_HELD * (CONNECTION + receiving);
    PROGRAM + connections * (CONNECTION + sending + receiving) + stalled + held
}

#[cfg(test)]
mod tests {
    use testkit::docs::read;

    use super::*;

    /// What `servidor` needs besides a file for each connection, and how many event loops the unit has files for.
    const OTHER_FILES: u64 = 256;
    const FILES_OF_AN_EVENT_LOOP: u64 = 2;
    const EVENT_LOOPS: u64 = 64;

    /// The value of a constant that is declared as a product.
    fn constant(file: &str, name: &str) -> u64 {
        let text = read(file);
        let (_, declared) = text.split_once(&format!("const {name}: ")).unwrap();
        let (_, declared) = declared.split_once(" = ").unwrap();
        let (product, _) = declared.split_once(';').unwrap();
        product.split(" * ").map(|factor| factor.parse::<u64>().unwrap()).product()
    }

    #[test]
    fn the_constants_are_those_of_the_service() {
        let (server, environment) = ("crates/servidor/src/server.rs", "crates/servidor/src/environment.rs");
        assert_eq!(constant(server, "SEND_BUFFER"), SEND_BUFFER);
        assert_eq!(constant(server, "RECEIVE_BUFFER"), RECEIVE_BUFFER);
        assert_eq!(constant(environment, "READ_SIZE"), READ_SIZE);
        assert_eq!(constant(environment, "WRITE_SIZE"), WRITE_SIZE);
        assert_eq!(constant("crates/servidor/src/event_loop/connections.rs", "MAX_STALLED"), MAX_STALLED);
        assert_eq!(constant("crates/servidor/src/event_loop/acceptor.rs", "MAX_HELD"), MAX_HELD);
        let settings = "crates/servidor/src/settings.rs";
        assert_eq!(constant(settings, "OTHER_FILES"), OTHER_FILES);
        assert_eq!(constant(settings, "FILES_OF_AN_EVENT_LOOP"), FILES_OF_AN_EVENT_LOOP);
    }

    #[test]
    fn the_text_names_the_constants_and_the_sum() {
        let text = read("SECURITY.md");
        for (name, bytes) in [
            ("SEND_BUFFER", SEND_BUFFER),
            ("RECEIVE_BUFFER", RECEIVE_BUFFER),
            ("WRITE_SIZE", WRITE_SIZE),
            ("READ_SIZE", READ_SIZE),
        ] {
            assert!(text.contains(&format!("`{name}` ({} KiB)", bytes / KIB)), "{name}");
        }
        assert!(text.contains(&format!("`MAX_STALLED` ({MAX_STALLED})")));
        assert!(text.contains(&format!("each of `MAX_HELD` ({MAX_HELD})")));
        let each = worst_case(CONNECTIONS + 1) - worst_case(CONNECTIONS);
        let fixed = worst_case(CONNECTIONS) - CONNECTIONS * each;
        let sum = worst_case(CONNECTIONS).div_ceil(MIB);
        let example = format!("{} MiB + 3,072 × {} KiB = {sum} MiB", fixed.div_ceil(MIB), each / KIB);
        assert!(text.contains(&example), "the sum is: {example}");
    }

    #[test]
    fn the_unit_allows_the_worst_case_and_has_a_file_for_each_connection() {
        let unit = read("deploy/systemd/servidor.service");
        let value = |name: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches('M').parse::<u64>().unwrap()
        };
        assert!(worst_case(CONNECTIONS) <= value("MemoryMax=") * MIB);
        let files = value("LimitNOFILE=");
        assert!(CONNECTIONS + OTHER_FILES + EVENT_LOOPS * FILES_OF_AN_EVENT_LOOP <= files);
        // Whoever raises `max-connections` as far as the files go still has the memory.
        assert!(worst_case(files) <= value("MemoryMax=") * MIB);
    }
}
