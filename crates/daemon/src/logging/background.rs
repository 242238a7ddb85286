//! Lines on their way to the output: whoever logs appends to a bounded buffer, and a thread writes what is there.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::output::{Batch, Output};

/// The least time between two writes, so that a burst costs few wake-ups: a line after a pause is written at once, the
/// others wait for each other. Waiting always, for the first line too, would cost more: a timer is dearer than a wake-up.
pub(super) const GATHERING: Duration = Duration::from_millis(5);

/// Bytes that may wait for a slow output; lines that do not fit are dropped whole, and counted.
const CAPACITY: usize = 256 * 1024;

/// Bytes that wait for nothing more: the rest of the buffer is for what comes while they are written.
const ENOUGH: usize = CAPACITY / 4;

/// How long the end waits for an output that takes no lines: together with what the runtime waits for its threads,
/// within the second that a stop may last beyond the drain.
const LAST_LINES: Duration = Duration::from_millis(800);

/// The thread that writes lines; as it is dropped, it writes all that came before.
#[derive(Debug)]
pub(super) struct Background {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    lines: Batch,
    urgency: Urgency,
    /// Whether the thread waits to be told of what changes; a thread that is writing looks by itself.
    asleep: bool,
    ending: bool,
    ended: bool,
}

/// What is to be done with the lines that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// There are none.
    Nothing,
    /// They may wait for others.
    Gather,
    /// They are to be written at once.
    Write,
}

impl Background {
    /// Starts to write to `output`, where lines wait for others until `gathering` has passed since the last write.
    ///
    /// # Panics
    ///
    /// If the system has no thread left.
    pub(super) fn start(output: impl Write + Send + 'static, gathering: Duration) -> Self {
        let waiting = Waiting {
            lines: Batch::with_capacity(CAPACITY),
            urgency: Urgency::Nothing,
            asleep: false,
            ending: false,
            ended: false,
        };
        let waiting = Mutex::new(waiting);
        let shared = Arc::new(Shared { waiting, changed: Condvar::new(), lost: AtomicU64::new(0) });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || of_thread.write_all(&mut Output::new(output), gathering))
            .expect("the system has a thread left");
        Self { shared }
    }

    /// Where lines are put.
    pub(super) fn lines(&self) -> Lines {
        Lines(Arc::clone(&self.shared))
    }

    /// How many lines were lost: the output was too slow, or failed.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        waiting.ending = true;
        self.shared.changed.notify_all();
        let wait = self.shared.changed.wait_timeout_while(waiting, LAST_LINES, |waiting| !waiting.ended);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.lock();
        if waiting.ending || waiting.lines.len() + line.len() > CAPACITY {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.push(line);
        let urgency = if urgent || waiting.lines.len() >= ENOUGH { Urgency::Write } else { Urgency::Gather };
        if urgency > waiting.urgency {
            waiting.urgency = urgency;
            let asleep = waiting.asleep;
            // The thread would else wake only to wait for the lock.
            drop(waiting);
            if asleep {
                self.changed.notify_all();
            }
        }
    }

    fn write_all(&self, output: &mut Output<impl Write>, gathering: Duration) {
        let mut batch = Batch::with_capacity(CAPACITY);
        let mut gathered = None;
        while self.take(&mut batch, gathered) {
            let lost = output.write(&batch);
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
            batch.clear();
            gathered = Instant::now().checked_add(gathering);
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for lines, and until they are `gathered`, and takes them all in exchange for the empty `batch`; says whether
    /// there were any: without, this is the end.
    fn take(&self, batch: &mut Batch, gathered: Option<Instant>) -> bool {
        let mut waiting = self.lock();
        waiting.asleep = true;
        waiting = self
            .changed
            .wait_while(waiting, |waiting| waiting.urgency == Urgency::Nothing && !waiting.ending)
            .unwrap_or_else(PoisonError::into_inner);
        let gathering =
            gathered.map_or(Duration::ZERO, |time| time.saturating_duration_since(Instant::now()));
        if !gathering.is_zero() {
            let gathers = |waiting: &mut Waiting| waiting.urgency == Urgency::Gather && !waiting.ending;
            (waiting, _) = self
                .changed
                .wait_timeout_while(waiting, gathering, gathers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.asleep = false;
        waiting.urgency = Urgency::Nothing;
        mem::swap(&mut waiting.lines, batch);
        !batch.is_empty()
    }
}

/// Takes lines.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

impl Lines {
    /// Takes a line, its end included; an urgent one is written at once.
    pub(super) fn append(&self, line: &[u8], urgent: bool) {
        self.0.append(line, urgent);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { shared: &self.0, urgent: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        Line { shared: &self.0, urgent: *event.level() == Level::ERROR }
    }
}

/// One line, which the subscriber writes as a whole.
#[derive(Debug)]
pub(super) struct Line<'a> {
    shared: &'a Shared,
    urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.append(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
