//! Sockets that listen on the addresses of the settings.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the kernel may queue for a listener. It lowers this to `net.core.somaxconn` by itself.
pub const BACKLOG: i32 = 1024;

/// Why nothing listens on an address of the settings.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("{setting} = {address}: cannot be bound")]
    Bind {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The address is bound, but the socket cannot be used.
    #[error("{setting} = {address}: the socket cannot be used")]
    Use {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket, which does not block.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it was passed in by another process.
    pub inherited: bool,
    /// Whether another process holds it too. It then outlives this process, and its queue is left to the successor.
    pub outlives: bool,
}

/// Binds addresses for this process only.
///
/// # Errors
///
/// If one cannot be bound.
pub fn open_own(setting: &'static str, addresses: &[SocketAddr]) -> Result<Vec<Listener>, ListenError> {
    let bound = addresses.iter().map(|&wanted| {
        let (socket, address) = bind(setting, wanted)?;
        Ok(Listener { socket, address, inherited: false, outlives: false })
    });
    bound.collect()
}

/// Listens on `wanted`, which is the value of `setting`. Returns the address that it has been given, too.
///
/// # Errors
///
/// If the address is taken, not ours, or not allowed.
pub(crate) fn bind(
    setting: &'static str,
    wanted: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = socket_at(wanted).and_then(|socket| socket.local_addr().map(|address| (socket, address)));
    bound.map_err(|error| ListenError::Bind { setting, address: wanted, error })
}

/// A socket that listens on `address`. An IPv6 address takes no IPv4 peers.
fn socket_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the last run that are still in TIME_WAIT must not block the port.
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it, which saves one system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_answer_does_not_wait_for_the_acknowledgement_of_the_one_before() {
        let listeners = open_own("listen", &[([127, 0, 0, 1], 0).into()]).expect("a free port");
        let _peer = TcpStream::connect(listeners[0].address).expect("it listens");
        listeners[0].socket.set_nonblocking(false).expect("a socket");
        let (accepted, _) = listeners[0].socket.accept().expect("a connection waits");
        assert!(accepted.nodelay().expect("a TCP socket"));
    }
}
