//! Bytes that wait in the kernel between a peer and a daemon: proc_net_tcp(5).

use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

/// The timer of a sender that waits for a closed window to open.
const WINDOW_PROBE: u32 = 4;

/// One end of a connection.
struct End {
    /// Bytes that the other end has not acknowledged.
    to_send: u32,
    /// Bytes that the program has not read.
    to_read: u32,
    timer: u32,
}

/// Whether the kernel still has the other end of `stream`, an IPv4 connection on this host.
pub(crate) fn has_other_end(stream: &TcpStream) -> bool {
    // A connection that was reset has no other end.
    let Ok(there) = stream.peer_addr() else { return false };
    let here = stream.local_addr().expect("a bound socket");
    end(&table(), ipv4(there), ipv4(here)).is_some()
}

/// Whether all that was sent on `stream`, an IPv4 connection on this host, has been read at the other end.
pub(crate) fn is_all_read(stream: &TcpStream) -> bool {
    matches!(ends(stream), (Some(here), Some(there)) if here.to_send == 0 && there.to_read == 0)
}

/// Whether the other end of `stream`, an IPv4 connection on this host, has bytes to send for which there is no room at
/// this end, which does not read.
pub(crate) fn has_no_room(stream: &TcpStream) -> bool {
    ends(stream).1.is_some_and(|there| there.timer == WINDOW_PROBE)
}

/// This end of the connection, and the other.
fn ends(stream: &TcpStream) -> (Option<End>, Option<End>) {
    let here = ipv4(stream.local_addr().expect("a connected socket"));
    let there = ipv4(stream.peer_addr().expect("a connected socket"));
    let table = table();
    (end(&table, here, there), end(&table, there, here))
}

/// All connections of this network.
fn table() -> String {
    fs::read_to_string("/proc/thread-self/net/tcp").expect("a Linux host")
}

/// The end at `local` of the connection to `remote`.
fn end(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<End> {
    table.lines().find_map(|line| end_in(line, local, remote))
}

/// The end at `local` of the connection to `remote`, if `line` is about it.
fn end_in(line: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<End> {
    let mut fields = line.split_whitespace().skip(1);
    let is_it = fields.next()? == as_in_table(local) && fields.next()? == as_in_table(remote);
    let (to_send, to_read) = fields.nth(1).filter(|_| is_it)?.split_once(':')?;
    let (timer, _) = fields.next()?.split_once(':')?;
    let number = |hexadecimal| u32::from_str_radix(hexadecimal, 16).ok();
    Some(End { to_send: number(to_send)?, to_read: number(to_read)?, timer: number(timer)? })
}

/// The address as a number of the host's byte order, then the port.
fn as_in_table(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

fn ipv4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("{address} is not in the table of IPv4"),
    }
}
