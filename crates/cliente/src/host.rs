//! What rounds need of this host, beside the clock: connections, sockets for name servers, chance.
//!
//! With the feature `simulation`, a thread may have all of this from a simulated host.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

#[cfg(not(feature = "simulation"))]
pub(crate) use self::real::{NameServerSockets, Stream, connect, peek, rng};
#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::host::{NameServerSockets, Stream, connect, peek, rng};

#[cfg(not(feature = "simulation"))]
mod real {
    pub(crate) use hickory_resolver::net::runtime::TokioRuntimeProvider as NameServerSockets;
    pub(crate) use rand::rng;
    pub(crate) use tokio::net::TcpStream as Stream;

    pub(crate) use super::{connect_really as connect, peek_really as peek};
}

/// Connects to `address`, from `source` if there is one.
pub(crate) async fn connect_really(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

/// Asks the socket itself whether there is something to read: the runtime may not know yet of a FIN that has arrived.
pub(crate) fn peek_really(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}
