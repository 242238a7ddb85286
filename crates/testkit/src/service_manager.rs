//! A service manager that reads a daemon's messages only when the test does: sd_notify(3).

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tempfile::TempDir;

use crate::DEADLINE;

const FILLER: &str = "FILLER=1";

/// The socket that `NOTIFY_SOCKET` names.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: String,
    _folder: TempDir,
}

impl ServiceManager {
    /// Listens at a path.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let address = path.to_str().expect("a path in UTF-8").to_owned();
        Self::at(UnixDatagram::bind(path).expect("a new socket"), address, folder)
    }

    /// Listens at an abstract address, as systemd writes it.
    pub fn at_abstract_address() -> Self {
        // A name that is in use nowhere else.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = folder.path().to_str().expect("a path in UTF-8").to_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        Self::at(UnixDatagram::bind_addr(&address).expect("a new socket"), format!("@{name}"), folder)
    }

    fn at(socket: UnixDatagram, address: String, folder: TempDir) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
        Self { socket, address, _folder: folder }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The socket itself.
    pub fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// Fills its queue, so that nobody can send it anything until it reads.
    pub fn fill(&self) {
        let sender = UnixDatagram::unbound().expect("a new socket");
        sender.set_nonblocking(true).expect("a socket");
        let address = self.socket.local_addr().expect("it is bound");
        loop {
            match sender.send_to_addr(FILLER.as_bytes(), &address) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the queue cannot be filled: {error}"),
            }
        }
    }

    /// Reads all that is in its queue.
    pub fn empty(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.socket.recv(&mut [0; 256]).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
    }

    /// Waits for the next message that is no filler.
    pub fn next_message(&self) -> String {
        let mut message = [0; 4096];
        loop {
            let length = self.socket.recv(&mut message).expect("a message in time");
            let text = std::str::from_utf8(&message[..length]).expect("a message in UTF-8");
            if text != FILLER {
                return text.to_owned();
            }
        }
    }

    /// Waits for the next change of state: what only describes the moment is passed over.
    pub fn next_state(&self) -> String {
        loop {
            let message = self.next_message();
            if !message.starts_with("STATUS=") && !message.starts_with("WATCHDOG=") {
                return message;
            }
        }
    }
}

impl Default for ServiceManager {
    fn default() -> Self {
        Self::new()
    }
}
