//! What waits in the kernel between a peer and a daemon: proc_net_tcp(5).

use std::fs;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

/// Whether all that was sent on `stream`, an IPv4 connection on this host, has been read at the other end.
pub(crate) fn is_all_read(stream: &TcpStream) -> bool {
    let here = ipv4(stream.local_addr().expect("a connected socket"));
    let there = ipv4(stream.peer_addr().expect("a connected socket"));
    let table = fs::read_to_string("/proc/net/tcp").expect("a Linux host");
    let is_zero = |local: SocketAddrV4, remote: SocketAddrV4, queue: fn((u32, u32)) -> u32| {
        table.lines().find_map(|line| queues_of(line, local, remote)).is_some_and(|queues| queue(queues) == 0)
    };
    is_zero(here, there, |(send, _)| send) && is_zero(there, here, |(_, receive)| receive)
}

/// The bytes in the queues of the connection from `local` to `remote`, if `line` is about it.
fn queues_of(line: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<(u32, u32)> {
    let mut fields = line.split_whitespace().skip(1);
    let is_it = fields.next()? == as_in_table(local) && fields.next()? == as_in_table(remote);
    let (send, receive) = fields.nth(1).filter(|_| is_it)?.split_once(':')?;
    let bytes = |hexadecimal| u32::from_str_radix(hexadecimal, 16).ok();
    Some((bytes(send)?, bytes(receive)?))
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
