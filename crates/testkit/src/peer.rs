//! A client that does only what the test says; none of it can hang forever.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use crate::queues::{has_no_room, has_other_end, is_all_read};
use crate::{DEADLINE, wait_until};

/// A connection to a daemon.
#[derive(Debug)]
pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::from(TcpStream::connect_timeout(&address, DEADLINE).expect("the daemon's address accepts"))
    }

    /// Connects from an address of this host.
    pub fn connect_from(source: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddrV4::new(source, 0)).expect("an address of this host");
        connect(&socket, &to).expect("the daemon's address accepts");
        Self::from(TcpStream::from(socket))
    }

    /// Connects with room for about so many bytes of replies that have not been read.
    pub fn connect_with_room(bytes: usize, to: SocketAddr) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a socket");
        connect(&socket, &to).expect("the daemon's address accepts");
        Self::from(TcpStream::from(socket))
    }

    /// Connects, and sends requests without reading a reply, until the daemon can write no more and stops reading.
    pub fn clogged(address: SocketAddr) -> Self {
        Self::connect(address).clog()
    }

    /// Sends requests without reading a reply, until the daemon can write no more and stops reading.
    #[must_use]
    pub fn clog(self) -> Self {
        let mut peer = self;
        let requests = b"123456789012345678901234567890\n".repeat(1000);
        let mut sent = 0;
        peer.stream().set_nonblocking(true).expect("an open connection");
        // A daemon that is slow is not clogged: only the kernel knows that it has no room for replies.
        wait_until("the daemon can write no more", || {
            loop {
                match peer.stream.get_mut().write(&requests[sent..]) {
                    Ok(count) => sent = (sent + count) % requests.len(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return has_no_room(peer.stream()),
                    Err(error) => panic!("the daemon ended the connection: {error}"),
                }
            }
        });
        peer.stream().set_nonblocking(false).expect("an open connection");
        peer
    }

    /// Sends `bytes` at once.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the daemon takes what is sent");
    }

    /// The same, if the daemon is still there. Returns whether it is.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next line, its LF included; what came before the end of the stream, if that comes first.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line of UTF-8, not a reset or a silence");
        line
    }

    /// Sends `request`, and returns the line that comes next.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.line()
    }

    /// All that comes until the daemon's FIN. A reset fails the test.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("UTF-8 and then FIN, not a reset or a silence");
        rest
    }

    /// How many bytes come until the connection has ended, by FIN or by a reset.
    pub fn bytes_to_the_end(&mut self) -> usize {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        rest.len()
    }

    /// Reads until the daemon's reset. A FIN fails the test.
    pub fn expect_reset(&mut self) {
        let mut rest = Vec::new();
        let end = self.stream.read_to_end(&mut rest).expect_err("a reset, not FIN");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{end}");
    }

    /// Waits until the daemon has read all that was sent.
    pub fn wait_until_read(&self) {
        wait_until("the daemon has read what was sent", || is_all_read(self.stream()));
    }

    /// Waits until this side has no room for what the daemon has sent: it advertises a window of zero.
    pub fn wait_until_full(&self) {
        wait_until("there is no room for more replies", || has_no_room(self.stream()));
    }

    /// Waits until the kernel has nothing left of the daemon's side of the connection.
    pub fn wait_until_forgotten(&self) {
        wait_until("nothing is left of the daemon's side", || !has_other_end(self.stream()));
    }

    /// Whether the daemon has ended the connection, and nothing is left to be read.
    pub fn has_ended(&self) -> bool {
        self.stream().set_nonblocking(true).expect("an open socket");
        let peeked = self.stream().peek(&mut [0]);
        self.stream().set_nonblocking(false).expect("an open socket");
        !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.stream().shutdown(Shutdown::Write).expect("an open connection");
    }

    /// This side's address, as the daemon's log names it.
    pub fn name(&self) -> String {
        self.stream().local_addr().expect("a connected socket").to_string()
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl From<TcpStream> for Peer {
    fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("a deadline above zero");
        Self { stream: BufReader::new(stream) }
    }
}
