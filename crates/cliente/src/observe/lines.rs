//! Lines for a reader who may stop reading: they are written by a thread, so that no round waits for it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio_util::sync::CancellationToken;

/// How many lines may wait for the reader. Those beyond are not shown, but counted.
const MAX_WAITING: usize = 1024;

/// Writes lines in their order.
#[derive(Debug)]
pub(super) struct Lines {
    broken: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sender: Option<SyncSender<String>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    not_shown: u64,
}

impl Lines {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If there is no thread.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel(MAX_WAITING);
        let broken = CancellationToken::new();
        let breaks = broken.clone();
        let writer = thread::Builder::new().name("report".to_owned()).spawn(move || {
            let written = write(out, &lines);
            if written.is_err() {
                breaks.cancel();
            }
            written
        })?;
        let state = State { sender: Some(sender), writer: Some(writer), not_shown: 0 };
        Ok(Self { broken, state: Mutex::new(state) })
    }

    /// Writes `line` soon, if not too many lines wait.
    pub(super) fn offer(&self, line: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = state.sender.as_ref().map(|sender| sender.try_send(line));
        if let Some(Err(TrySendError::Full(_))) = sent {
            state.not_shown += 1;
        }
    }

    /// Writes all lines that wait and then the result of `last`, which is passed the number of lines that are not shown. Takes as
    /// long as the reader does.
    ///
    /// # Errors
    ///
    /// If anything could not be written.
    pub(super) fn finish(&self, last: impl FnOnce(u64) -> String) -> io::Result<()> {
        let State { sender, writer, not_shown } =
            std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(sender) = sender {
            // If it cannot be sent, the thread has ended, and says why.
            let _ = sender.send(last(not_shown));
        }
        let Some(writer) = writer else { return Ok(()) };
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes panicked")))
    }

    /// Waits until something could not be written.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }
}

fn write(mut out: impl Write, lines: &Receiver<String>) -> io::Result<()> {
    for line in lines {
        out.write_all(line.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}
