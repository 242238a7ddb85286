//! Sockets that listen on the addresses of the settings.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the kernel may hold for us; it lowers this to `net.core.somaxconn` by itself.
pub const BACKLOG: i32 = 1024;

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {address}: cannot be bound")]
pub struct BindError {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub error: io::Error,
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket, which does not block.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it was handed over.
    pub inherited: bool,
    /// Whether someone else holds it too, so that it outlives this process: its queue is then the successor's.
    pub outlives: bool,
}

/// Binds addresses for this process alone.
///
/// # Errors
///
/// If one cannot be bound.
pub fn open_own(setting: &'static str, addresses: &[SocketAddr]) -> anyhow::Result<Vec<Listener>> {
    let bound = addresses.iter().map(|&address| {
        let socket = bind(address).map_err(|error| BindError { setting, address, error })?;
        Ok(Listener { address: socket.local_addr()?, socket, inherited: false, outlives: false })
    });
    bound.collect()
}

/// Listens on `address`; an IPv6 address takes no IPv4 peers.
///
/// # Errors
///
/// If the address is taken, not ours, or not allowed.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the last run that linger in TIME_WAIT must not keep this one from its port.
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it, which spares a system call each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
