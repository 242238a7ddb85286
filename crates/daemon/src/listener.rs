//! Sockets that listen: bound here, or handed over.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::notify::Inherited;

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
    /// Whether it was handed over, and outlives this process: its queue is then the successor's.
    pub inherited: bool,
}

/// Takes the sockets handed over under `name`, else binds the addresses that `setting` names. Where the setting was
/// given and differs from what was handed over, a warning names both.
///
/// # Errors
///
/// [`BindError`] if an address cannot be bound; else what the kernel says of an inherited socket.
pub fn open(
    inherited: &mut Inherited,
    name: &str,
    setting: &'static str,
    configured: &[SocketAddr],
    is_given: bool,
) -> anyhow::Result<Vec<Listener>> {
    let sockets = inherited.take(name);
    if sockets.is_empty() {
        let bound = configured.iter().map(|address| {
            let socket = bind(*address).map_err(|error| BindError { setting, address: *address, error })?;
            Ok(Listener::new(socket, false)?)
        });
        return bound.collect();
    }
    let adopted = sockets.into_iter().map(|socket| Listener::new(socket, true));
    let listeners = adopted.collect::<io::Result<Vec<_>>>()?;
    let same = listeners.len() == configured.len()
        && listeners.iter().all(|listener| configured.contains(&listener.address));
    if is_given && !same {
        let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
        tracing::warn!(setting, ?configured, inherited = ?addresses, "setting is overruled by inherited sockets");
    }
    Ok(listeners)
}

impl Listener {
    fn new(socket: TcpListener, inherited: bool) -> io::Result<Self> {
        Ok(Self { address: socket.local_addr()?, socket, inherited })
    }
}

/// Listens on `address`; an IPv6 address takes no IPv4 peers.
///
/// # Errors
///
/// If the address is taken, not ours, or not allowed.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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
