//! Sends replies, and waits for peers that do not read.

use std::time::Instant;

use protocol::WINDOW;

use super::batch::Padded;
use super::pending::Pending;
use super::{Connection, Next, READ, WRITE};
use crate::environment::Environment;
use crate::kernel::{Errno, Kernel, retry};
use crate::metrics::CloseReason;

impl<K: Kernel> Connection<K> {
    /// Since when the peer has not read its replies, if they have to wait.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.since)
    }

    /// Bytes that it keeps while the peer does not read.
    #[cfg(feature = "simulation")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.unsent.capacity() + pending.unread.capacity())
    }

    /// Sends the replies to what was read at `env.now`. Keeps what the kernel does not take.
    pub(super) fn send(
        &mut self,
        replies: &[u8],
        unread: &[u8],
        then: Option<CloseReason>,
        env: &mut Environment<K>,
    ) -> Result<Next, Errno> {
        let sent = self.send_some(replies, env)?;
        let read_at = env.now;
        if sent == replies.len() {
            env.now = env.kernel.now();
            env.metrics().served_in(env.now - read_at);
            return Ok(then.map_or(READ, Next::Close));
        }
        let (unsent, unread) = (replies[sent..].to_vec(), unread.to_vec());
        self.pending = Some(Box::new(Pending { read_at, since: read_at, unsent, sent: 0, unread, then }));
        Ok(WRITE)
    }

    /// Sends until the kernel takes no more. Returns how many bytes it has taken.
    fn send_some(&self, bytes: &[u8], env: &mut Environment<K>) -> Result<usize, Errno> {
        let mut sent = 0;
        while sent < bytes.len() {
            match retry(|| env.kernel.send(&self.socket, &bytes[sent..])) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Sends pending replies, then answers the requests behind them. `None`: there was no room.
    pub(super) fn flush(
        &mut self,
        output: &mut Vec<u8>,
        env: &mut Environment<K>,
    ) -> Result<Option<Next>, Errno> {
        let Some(mut pending) = self.pending.take() else { return Ok(Some(READ)) };
        let sent = self.send_some(&pending.unsent[pending.sent..], env)?;
        pending.progress(sent, env.now);
        if pending.sent < pending.unsent.len() {
            self.pending = Some(pending);
            return Ok((sent > 0).then_some(WRITE));
        }
        env.now = env.kernel.now();
        env.metrics().served_in(env.now - pending.read_at);
        // The peer has been busy with what it was sent: its silence begins here, and nothing was read from it either.
        self.last_read = env.now;
        self.line_began = env.now;
        let unread = pending.unread.len();
        match pending.then {
            Some(reason) => Ok(Some(Next::Close(reason))),
            None if unread == 0 => Ok(Some(READ)),
            None => {
                pending.unread.resize(unread + WINDOW, 0);
                self.answer(Padded::new(&mut pending.unread, unread), output, env).map(Some)
            }
        }
    }
}
