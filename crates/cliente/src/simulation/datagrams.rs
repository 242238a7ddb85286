//! UDP as the client sees it: sockets for questions to name servers.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::names::Question;
use super::shared::Shared;

/// A socket of the client's.
pub(crate) struct Datagrams {
    shared: Shared,
    socket: u64,
}

impl Datagrams {
    pub(super) fn new(shared: Shared) -> Self {
        let socket = shared.world().open_datagrams();
        Self { shared, socket }
    }

    pub(super) fn send(&self, bytes: &[u8], server: SocketAddr) -> usize {
        let question = Question { socket: self.socket, server, bytes: bytes.to_vec() };
        self.shared.world().asks(question);
        bytes.len()
    }

    pub(super) fn poll_receive(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let answer = self.shared.world().poll_answer(self.socket, context.waker());
        answer.map(|(bytes, server)| {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok((bytes.len(), server))
        })
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.shared.world().close_datagrams(self.socket);
    }
}
