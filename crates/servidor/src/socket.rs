//! A connected TCP socket that does not block: recv(2), send(2) and shutdown(2), as bare as they are.
//!
//! The standard library's go through the C library, which prepares each for a thread's cancellation, though nothing
//! here cancels threads: one hundredth of what a request costs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// See the module.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Sends a FIN behind what has been written.
    ///
    /// # Errors
    ///
    /// If the peer has gone.
    pub(crate) fn finish(&self) -> io::Result<()> {
        Ok(shutdown(&self.0, Shutdown::Write)?)
    }

    /// The same socket as the runtime's.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch it.
    pub(crate) fn into_tokio(self) -> io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::from_std(self.0.into())
    }
}

impl From<OwnedFd> for Socket {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = recv(&self.0, buffer, RecvFlags::empty())?;
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
