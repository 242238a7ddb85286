//! How far a run is, told by its threads while they work; and the wish to stop it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::tally::Tally;

/// Shared by all threads of a run, and by whoever watches it.
#[derive(Debug)]
pub struct Progress {
    threads: Vec<[AtomicU64; 2]>,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// Nothing done yet.
    pub fn new(threads: usize) -> Self {
        Self { threads: (0..threads).map(|_| Default::default()).collect(), stop: Arc::default() }
    }

    /// Asks the run to end now, and to tell what it came to till then.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Lets the first SIGINT or SIGTERM stop the run, and a second one end the process.
    pub(super) fn stop_on_signals(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal is not to find its own mark.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&self.stop))?;
            flag::register(signal, Arc::clone(&self.stop))?;
        }
        Ok(())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn tell(&self, thread: usize, tally: &Tally) {
        let [right, failed] = &self.threads[thread];
        right.store(tally.right, Relaxed);
        failed.store(tally.failed_in_all(), Relaxed);
    }

    /// Right replies, and failures, a tenth of a second ago or less.
    pub(super) fn counts(&self) -> (u64, u64) {
        let sum = |index: usize| self.threads.iter().map(|counts| counts[index].load(Relaxed)).sum();
        (sum(0), sum(1))
    }
}
