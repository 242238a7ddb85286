//! A client whose every move the test decides; nothing it does can hang for ever.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::DEADLINE;

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

    /// Sends `bytes` at once.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the daemon takes what is sent");
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
