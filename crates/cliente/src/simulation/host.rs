//! The host as the client sees it: the simulated one of this thread, or else the real one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

use super::datagrams::Datagrams;
use super::shared::Shared;
use super::sockets::Socket;
use crate::host::{connect_really, peek_really};

thread_local! {
    static SIMULATED: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// While this lives, the thread has a simulated host.
pub(super) struct Entered;

/// Gives this thread a simulated host.
pub(super) fn enter(shared: Shared) -> Entered {
    SIMULATED.set(Some(shared));
    Entered
}

impl Drop for Entered {
    fn drop(&mut self) {
        SIMULATED.set(None);
    }
}

fn simulated() -> Option<Shared> {
    SIMULATED.with_borrow(Clone::clone)
}

/// Where this host answers its control rounds.
pub(crate) fn control_address() -> Option<SocketAddr> {
    simulated().map(|_| super::world::CONTROL)
}

/// What resolv.conf says.
pub(crate) fn resolv_conf() -> Option<String> {
    simulated().map(|shared| shared.world().resolv_conf())
}

/// The monotonic clock.
pub(crate) fn now() -> Option<Duration> {
    simulated().map(|shared| super::world::AT_BOOT + Duration::from_nanos(shared.now()))
}

/// The processor time of the thread.
pub(crate) fn used() -> Option<Duration> {
    simulated().map(|shared| Duration::from_nanos(shared.world().used))
}

/// Sets the timer of the stall meter.
pub(crate) fn set_beat(at: Duration) -> bool {
    let Some(shared) = simulated() else { return false };
    // Zero disarms it.
    let at = (!at.is_zero()).then(|| super::world::nanoseconds(at.saturating_sub(super::world::AT_BOOT)));
    shared.world().set_beat(at);
    true
}

/// Waits for the timer of the stall meter.
pub(crate) fn beat() -> Option<impl Future<Output = ()>> {
    let shared = simulated()?;
    Some(poll_fn(move |context| shared.world().poll_beat(context.waker())))
}

/// A generator of random numbers.
pub(crate) fn rng() -> StdRng {
    match simulated() {
        Some(shared) => StdRng::seed_from_u64(shared.world().next_client_seed()),
        None => StdRng::from_rng(&mut rand::rng()),
    }
}

/// A connection.
pub(crate) enum Stream {
    Real(TcpStream),
    Simulated(Socket),
}

/// Connects to `address`, from `source` if there is one.
pub(crate) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Stream> {
    match simulated() {
        Some(shared) => Socket::connect(shared, address).await.map(Stream::Simulated),
        None => connect_really(address, source).await.map(Stream::Real),
    }
}

/// Asks the socket itself whether there is something to read.
pub(crate) fn peek(stream: &Stream) -> io::Result<usize> {
    match stream {
        Stream::Real(stream) => peek_really(stream),
        Stream::Simulated(socket) => socket.peek(),
    }
}

impl Stream {
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Real(stream) => stream.set_nodelay(nodelay),
            Self::Simulated(_) => Ok(()),
        }
    }

    #[cfg(test)]
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Real(stream) => stream.readable().await,
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Real(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Simulated(socket) => socket.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Real(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Simulated(socket) => Poll::Ready(socket.write(bytes)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Real(stream) => Pin::new(stream).poll_flush(context),
            Self::Simulated(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Real(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Simulated(socket) => Poll::Ready(socket.shutdown()),
        }
    }
}

/// Sockets for questions to name servers.
#[derive(Clone, Default)]
pub(crate) struct NameServerSockets(TokioRuntimeProvider);

impl RuntimeProvider for NameServerSockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = NameServerSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        match simulated() {
            Some(_) => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
            None => self.0.connect_tcp(server, local, limit),
        }
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        if let Some(shared) = simulated() {
            return Box::pin(async { Ok(NameServerSocket::Simulated(Datagrams::new(shared))) });
        }
        let socket = self.0.bind_udp(local, server);
        Box::pin(async { socket.await.map(NameServerSocket::Real) })
    }
}

/// A socket for a question to a name server.
pub(crate) enum NameServerSocket {
    Real(UdpSocket),
    Simulated(Datagrams),
}

impl DnsUdpSocket for NameServerSocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        match self {
            Self::Real(socket) => DnsUdpSocket::poll_recv_from(socket, context, buffer),
            Self::Simulated(socket) => socket.poll_receive(context, buffer),
        }
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Real(socket) => DnsUdpSocket::poll_send_to(socket, context, bytes, server),
            Self::Simulated(socket) => Poll::Ready(Ok(socket.send(bytes, server))),
        }
    }
}
