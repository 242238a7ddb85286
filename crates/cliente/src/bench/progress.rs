//! How far a run is, published by its threads while they work; and the request to stop it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::tally::{Tally, histogram};

/// Shared by all threads of a run and the thread that shows its progress.
#[derive(Debug)]
pub struct Progress {
    threads: Vec<Mutex<Part>>,
    is_watched: bool,
    stop: Arc<AtomicBool>,
}

/// What a thread has published, or all of them together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Right replies, and failures, since the beginning.
    pub(super) right: u64,
    pub(super) failed: u64,
    /// Latencies since they were taken last.
    pub(super) recent: Histogram<u64>,
}

impl Part {
    fn new() -> Self {
        // Copied ten times a second: two digits keep it small.
        Self { right: 0, failed: 0, recent: histogram(2) }
    }
}

impl Progress {
    /// Nothing done yet, and not shown.
    pub fn new(threads: usize) -> Self {
        let threads = (0..threads).map(|_| Mutex::new(Part::new())).collect();
        Self { threads, is_watched: false, stop: Arc::default() }
    }

    /// Nothing done yet. The threads will publish what they do.
    pub(super) fn watched(threads: usize) -> Self {
        Self { is_watched: true, ..Self::new(threads) }
    }

    /// Asks the run to end now, with the report of what it did until then.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Lets the first SIGINT or SIGTERM stop the run, and a second one end the process.
    pub(super) fn stop_on_signals(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal must not find its own mark.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&self.stop))?;
            flag::register(signal, Arc::clone(&self.stop))?;
        }
        Ok(())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Where a thread collects its latencies until it publishes them.
    pub(super) fn recent(&self) -> Option<Histogram<u64>> {
        self.is_watched.then(|| histogram(2))
    }

    /// Publishes what `thread` has done, and empties `recent`.
    pub(super) fn publish(&self, thread: usize, tally: &Tally, recent: Option<&mut Histogram<u64>>) {
        let Some(recent) = recent else { return };
        let mut part = self.threads[thread].lock().unwrap_or_else(PoisonError::into_inner);
        (part.right, part.failed) = (tally.right, tally.failed_in_all());
        part.recent += &*recent;
        recent.reset();
    }

    /// What all threads have published; the latencies are taken.
    pub(super) fn take(&self) -> Part {
        let mut all = Part::new();
        for thread in &self.threads {
            let mut part = thread.lock().unwrap_or_else(PoisonError::into_inner);
            all.right += part.right;
            all.failed += part.failed;
            all.recent += &part.recent;
            part.recent.reset();
        }
        all
    }
}
