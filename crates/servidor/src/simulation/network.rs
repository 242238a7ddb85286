//! TCP as both ends see it: queues, windows, FIN and RST. Bytes are lost only by a reset.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rustix::io::Errno;

/// A connection, from its handshake on.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    pub(super) state: State,
    /// Bytes that have reached the server's host and have not been read.
    pub(super) inbound: VecDeque<u8>,
    /// The limit of these bytes. The peer has to wait with the rest.
    pub(super) window: usize,
    /// How the stream ends after these bytes.
    pub(super) inbound_end: Option<End>,
    /// To be reported by the next call of the server.
    error: Option<Errno>,
    /// Bytes that the server has sent and that the peer's host has not received.
    outbound: VecDeque<u8>,
    /// The most that waits there.
    pub(super) buffer: usize,
    outbound_end: bool,
    /// Bytes that have reached the peer's host and have not been read.
    unread: VecDeque<u8>,
    /// The most that waits there.
    pub(super) peer_buffer: usize,
    pub(super) peer_end: Option<End>,
    pub(super) peer_closed: bool,
    /// Whether a reset drops bytes that the server has not read.
    pub(super) reset_drops: bool,
}

/// The state of a link, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The peer has not connected, or could not.
    Absent,
    /// It waits in a listener's queue.
    Queued,
    /// It was accepted.
    Open,
    /// The server has closed it.
    Closed,
}

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

impl Link {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            state: State::Absent,
            inbound: VecDeque::new(),
            window: 64 * 1024,
            inbound_end: None,
            error: None,
            outbound: VecDeque::new(),
            buffer: 16 * 1024,
            outbound_end: false,
            unread: VecDeque::new(),
            peer_buffer: 64 * 1024,
            peer_end: None,
            peer_closed: false,
            reset_drops: false,
        }
    }

    /// Whether a watch for reading reports it.
    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.inbound_end.is_some()
    }

    /// Whether a watch for writing reports it. Like the real kernel, only if a third of the buffer is free.
    pub(super) fn is_writable(&self) -> bool {
        self.is_over() || self.outbound.len() <= self.buffer - self.buffer.div_ceil(3)
    }

    /// Whether any watch reports it: both directions have ended.
    pub(super) fn is_over(&self) -> bool {
        let both = self.inbound_end == Some(End::Fin) && self.outbound_end;
        both || self.inbound_end == Some(End::Reset)
    }

    /// recv(2). At most `most` bytes are taken.
    pub(super) fn receive(&mut self, buffer: &mut [u8], most: usize) -> Result<usize, Errno> {
        let count = self.inbound.len().min(buffer.len()).min(most);
        if count > 0 {
            for (slot, byte) in buffer.iter_mut().zip(self.inbound.drain(..count)) {
                *slot = byte;
            }
            return Ok(count);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None if self.inbound_end.is_some() => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    /// send(2). At most `most` bytes are taken.
    pub(super) fn send(&mut self, bytes: &[u8], most: usize) -> Result<usize, Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.outbound_end || self.inbound_end == Some(End::Reset) {
            return Err(Errno::PIPE);
        }
        let count = bytes.len().min(self.room()).min(most);
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        self.outbound.extend(&bytes[..count]);
        Ok(count)
    }

    /// How many bytes a send would take.
    pub(super) fn room(&self) -> usize {
        self.buffer.saturating_sub(self.outbound.len())
    }

    /// How many bytes the peer's host has not received.
    pub(super) fn undelivered(&self) -> usize {
        self.outbound.len()
    }

    /// shutdown(2) of the server's direction.
    pub(super) fn shut_down(&mut self) -> Result<(), Errno> {
        if self.inbound_end == Some(End::Reset) {
            return Err(Errno::NOTCONN);
        }
        self.outbound_end = true;
        Ok(())
    }

    /// close(2) by the server. True if it sent RST instead of FIN.
    pub(super) fn close(&mut self) -> bool {
        self.state = State::Closed;
        if self.inbound.is_empty() {
            self.outbound_end = true;
            return false;
        }
        self.server_reset();
        true
    }

    /// RST from the server. True if it destroyed bytes that the peer had not read.
    pub(super) fn server_reset(&mut self) -> bool {
        self.state = State::Closed;
        let destroyed = !self.outbound.is_empty() || !self.unread.is_empty();
        self.inbound.clear();
        self.outbound.clear();
        self.unread.clear();
        if !self.peer_closed {
            self.peer_end = Some(End::Reset);
        }
        destroyed
    }

    /// Moves sent bytes towards the peer. True if something has arrived.
    pub(super) fn transfer(&mut self) -> bool {
        if self.inbound_end == Some(End::Reset) || self.peer_end.is_some() {
            return false;
        }
        if self.peer_closed {
            if !self.outbound.is_empty() {
                self.reset_server();
            }
            return false;
        }
        let room = self.peer_buffer.saturating_sub(self.unread.len());
        let count = room.min(self.outbound.len());
        self.unread.extend(self.outbound.drain(..count));
        let ends = self.outbound_end && self.outbound.is_empty();
        if ends {
            self.peer_end = Some(End::Fin);
        }
        count > 0 || ends
    }

    /// The peer sends. Returns how many bytes there was room for.
    pub(super) fn peer_send(&mut self, bytes: &[u8]) -> usize {
        if self.state == State::Closed {
            // The server has closed the connection: the bytes are answered with RST.
            self.unread.clear();
            self.peer_end = Some(End::Reset);
            return bytes.len();
        }
        let room = self.window.saturating_sub(self.inbound.len());
        let count = room.min(bytes.len());
        self.inbound.extend(&bytes[..count]);
        count
    }

    /// The peer reads at most `most` bytes.
    pub(super) fn peer_read(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.unread.len());
        self.unread.drain(..count).collect()
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The peer sends FIN.
    pub(super) fn peer_shut_down(&mut self) {
        self.inbound_end = self.inbound_end.or(Some(End::Fin));
    }

    /// The peer closes.
    pub(super) fn peer_close(&mut self) {
        self.peer_closed = true;
        if self.unread.is_empty() {
            self.peer_shut_down();
        } else {
            self.reset_server();
        }
        // Bytes that are still on their way are answered with RST.
        self.transfer();
    }

    /// RST reaches the server.
    pub(super) fn reset_server(&mut self) {
        self.peer_closed = true;
        if self.state == State::Closed || self.inbound_end == Some(End::Reset) {
            return;
        }
        self.error = Some(if self.inbound_end.is_some() { Errno::PIPE } else { Errno::CONNRESET });
        self.inbound_end = Some(End::Reset);
        if self.reset_drops {
            self.inbound.clear();
        }
        self.outbound.clear();
    }
}
