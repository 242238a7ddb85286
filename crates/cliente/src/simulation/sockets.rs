//! TCP as the client sees it: what has arrived for a connection, and what the client's calls do.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use super::scenario::stall_soon;
use super::servers::{Direction, Plan};
use super::shared::Shared;
use super::trace::trace;
use super::world::{Event, World};

/// What one side sends the other.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl fmt::Debug for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(bytes) => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            Self::Fin => formatter.write_str("FIN"),
            Self::Reset => formatter.write_str("RST"),
        }
    }
}

/// A connection of the client's.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) server: usize,
    /// How the attempt to connect ended.
    result: Option<Result<(), io::ErrorKind>>,
    inbox: VecDeque<u8>,
    has_ended: bool,
    is_reset: bool,
    waker: Option<Waker>,
    /// When the last segment arrives at each side: they stay in order.
    last: [u64; 2],
    /// What the server has read of a request.
    pub(super) request: Vec<u8>,
    /// What the server does with the next request.
    pub(super) plan: Plan,
    pub(super) server_is_done: bool,
}

/// A socket of the client's.
pub(crate) struct Socket {
    shared: Shared,
    connection: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.shared.world().close(self.connection);
    }
}

impl Socket {
    pub(super) async fn connect(shared: Shared, address: SocketAddr) -> io::Result<Self> {
        let connection = shared.world().begin(address)?;
        let socket = Self { shared, connection };
        poll_fn(|context| socket.shared.world().poll_connected(socket.connection, context.waker())).await?;
        Ok(socket)
    }

    pub(super) fn peek(&self) -> io::Result<usize> {
        let mut world = self.shared.world();
        let connection = world.connection(self.connection);
        match () {
            () if !connection.inbox.is_empty() => Ok(1),
            () if connection.is_reset => Err(io::ErrorKind::ConnectionReset.into()),
            () if connection.has_ended => Ok(0),
            () => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn poll_read(&self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut world = self.shared.world();
        // Readiness that the runtime has not been told of does not count.
        let is_blind = world.is_blind();
        let connection = world.connection(self.connection);
        if is_blind || (connection.inbox.is_empty() && !connection.is_reset && !connection.has_ended) {
            connection.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        if connection.inbox.is_empty() && connection.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = connection.inbox.len().min(buffer.remaining());
        for byte in connection.inbox.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.shared.world();
        let connection = world.connection(self.connection);
        if connection.is_reset {
            let server = connection.server;
            let now = world.now;
            world.oracle.sent(now, server, self.connection, &Segment::Data(bytes.to_vec()));
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        world.client_sends(self.connection, Segment::Data(bytes.to_vec()));
        Ok(bytes.len())
    }

    pub(super) fn shutdown(&self) -> io::Result<()> {
        let mut world = self.shared.world();
        if world.connection(self.connection).is_reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        world.client_sends(self.connection, Segment::Fin);
        Ok(())
    }
}

impl World {
    fn connection(&mut self, number: u64) -> &mut Connection {
        self.connections.get_mut(&number).expect("the client has it open")
    }

    /// The client begins to connect.
    fn begin(&mut self, address: SocketAddr) -> io::Result<u64> {
        let now = self.now;
        let server = self.servers.iter().position(|server| server.address == address);
        let Some(server) = server else {
            self.oracle.fail(now, format_args!("nobody told the client of {address}"));
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        stall_soon(self);
        self.opened += 1;
        let number = self.opened;
        trace!(self, "#{number} connects to {address}");
        self.oracle.attempt(now, server, number);
        let (at, result) = match self.servers[server].handshake(now) {
            super::servers::Handshake::AtOnce(kind) => {
                self.oracle.attempted(now, server, number, Err(kind));
                self.oracle.closed(now, server, number);
                trace!(self, "#{number} {kind:?}");
                return Err(kind.into());
            }
            super::servers::Handshake::Ends(at, result) => (Some(at), result),
            super::servers::Handshake::Never => (None, Ok(())),
        };
        if let Some(at) = at {
            self.schedule(at, Event::Connected(number, result));
        }
        let plan = self.servers[server].plan(now);
        let connection = Connection {
            server,
            result: None,
            inbox: VecDeque::new(),
            has_ended: false,
            is_reset: false,
            waker: None,
            last: [now, now],
            request: Vec::new(),
            plan,
            server_is_done: false,
        };
        self.connections.insert(number, connection);
        Ok(number)
    }

    fn poll_connected(&mut self, number: u64, waker: &Waker) -> Poll<io::Result<()>> {
        let is_blind = self.is_blind();
        let connection = self.connection(number);
        match connection.result {
            Some(result) if !is_blind => Poll::Ready(result.map_err(Into::into)),
            _ => {
                connection.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn connected(&mut self, number: u64, result: Result<(), io::ErrorKind>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.result = Some(result);
        let (waker, server) = (connection.waker.take(), connection.server);
        let greets = result.is_ok() && connection.plan == Plan::Busy;
        trace!(self, "#{number} {result:?}");
        let now = self.now;
        self.oracle.attempted(now, server, number, result);
        self.wake_later(waker);
        if greets {
            let greeting = "ERRO ocupado: todos os lugares estão tomados; tente mais tarde\n";
            self.server_sends(number, Segment::Data(greeting.as_bytes().to_vec()));
            self.server_sends(number, Segment::Fin);
        }
    }

    /// Something arrives at the client.
    pub(super) fn arrives(&mut self, number: u64, segment: Segment) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        trace!(self, "#{number} receives {segment:?}");
        let server = connection.server;
        match &segment {
            Segment::Data(bytes) => connection.inbox.extend(bytes),
            Segment::Fin => connection.has_ended = true,
            Segment::Reset => connection.is_reset = true,
        }
        let waker = connection.waker.take();
        self.oracle.arrived(now, server, number, segment);
        self.wake_later(waker);
    }

    fn client_sends(&mut self, number: u64, segment: Segment) {
        let now = self.now;
        trace!(self, "#{number} sends {segment:?}");
        let server = self.connection(number).server;
        self.oracle.sent(now, server, number, &segment);
        stall_soon(self);
        let connection = self.connections.get_mut(&number).expect("the client has it open");
        if let Some(at) = self.servers[server].transmit(now, Direction::There) {
            connection.last[0] = at.max(connection.last[0] + 1);
            let at = connection.last[0];
            self.schedule(at, Event::ToServer(number, segment));
        }
    }

    /// A server sends something.
    pub(super) fn server_sends(&mut self, number: u64, segment: Segment) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.server_is_done {
            return;
        }
        connection.server_is_done = matches!(segment, Segment::Fin | Segment::Reset);
        if let Some(at) = self.servers[connection.server].transmit(now, Direction::Back) {
            connection.last[1] = at.max(connection.last[1] + 1);
            let at = connection.last[1];
            self.schedule(at, Event::ToClient(number, segment));
        }
    }

    /// The runtime sees all sockets again: whoever waits for what has arrived is woken.
    pub(super) fn see(&mut self) {
        // Those that wait for nothing in particular wait again.
        let ready = self.connections.values_mut().filter(|connection| connection.result.is_some());
        let wakers: Vec<Waker> = ready.filter_map(|connection| connection.waker.take()).collect();
        for waker in wakers {
            self.wake_later(Some(waker));
        }
    }

    /// The client has closed its socket.
    fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            let now = self.now;
            trace!(self, "#{number} closed");
            self.oracle.closed(now, connection.server, number);
        }
    }
}
