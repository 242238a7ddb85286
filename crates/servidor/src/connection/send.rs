//! Sends replies, and waits for peers that do not read.

use std::ops::Range;
use std::time::Instant;

use super::pending::Pending;
use super::{Connection, Next, READ, WRITE};
use crate::environment::Environment;
use crate::kernel::{Errno, Kernel, retry};
use crate::metrics::CloseReason;

impl<K: Kernel> Connection<K> {
    /// Since when the peer has not read its replies, if they are waiting.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.since)
    }

    /// How many bytes it holds while the peer does not read.
    #[cfg(feature = "simulation")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.unsent.capacity() + pending.unread.capacity())
    }

    /// Sends the output, which answers what was read at `env.now`. Keeps what the kernel does not take, and the range of
    /// the input that has not been decoded.
    pub(super) fn send(
        &mut self,
        unread: Range<usize>,
        then: Option<CloseReason>,
        env: &mut Environment<K>,
    ) -> Result<Next, Errno> {
        let read_at = env.now;
        let sent = send_some(&mut env.kernel, &self.socket, &env.output)?;
        if sent == env.output.len() {
            env.now = env.kernel.now();
            env.metrics().served_in(env.now - read_at);
            env.context.log.replies_sent(self.record.peer, sent);
            return Ok(then.map_or(READ, Next::Close));
        }
        let (unsent, unread) = (env.output[sent..].to_vec(), env.input[unread].to_vec());
        env.context.log.replies_stalled(self.record.peer, unsent.len());
        self.pending = Some(Box::new(Pending { read_at, since: read_at, unsent, sent: 0, unread, then }));
        Ok(WRITE)
    }

    /// Sends pending replies, then answers the requests after them. `None` if there was no room.
    pub(super) fn flush(&mut self, env: &mut Environment<K>) -> Result<Option<Next>, Errno> {
        let Some(mut pending) = self.pending.take() else { return Ok(Some(READ)) };
        let sent = send_some(&mut env.kernel, &self.socket, &pending.unsent[pending.sent..])?;
        pending.progress(sent, env.now);
        if pending.sent < pending.unsent.len() {
            self.pending = Some(pending);
            return Ok((sent > 0).then_some(WRITE));
        }
        env.now = env.kernel.now();
        env.metrics().served_in(env.now - pending.read_at);
        env.context.log.replies_sent(self.record.peer, pending.unsent.len());
        // The peer was busy reading, and nothing was read from it meanwhile: its silence begins now.
        self.last_read = env.now;
        self.line_began = env.now;
        let unread = 0..pending.unread.len();
        match pending.then {
            Some(reason) => Ok(Some(Next::Close(reason))),
            None if unread.is_empty() => Ok(Some(READ)),
            None => {
                env.input[unread.clone()].copy_from_slice(&pending.unread);
                self.answer(unread, env).map(Some)
            }
        }
    }
}

/// Sends until the kernel takes no more. Returns how many bytes it has taken.
pub(crate) fn send_some<K: Kernel>(kernel: &mut K, socket: &K::Socket, bytes: &[u8]) -> Result<usize, Errno> {
    let mut sent = 0;
    while sent < bytes.len() {
        match retry(|| kernel.send(socket, &bytes[sent..])) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
