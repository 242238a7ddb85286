//! Limits the log lines of the data path: each message has a budget per second.

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How many more lines one message may log in this second. Lines beyond it are counted.
#[derive(Debug)]
pub struct Budget {
    event: &'static str,
    left: AtomicI64,
    suppressed: AtomicU64,
}

impl Budget {
    /// The budget of the message `event`.
    pub fn new(event: &'static str, per_second: u32) -> Self {
        Self { event, left: AtomicI64::new(per_second.into()), suppressed: AtomicU64::new(0) }
    }

    /// Whether lines are left in this second.
    #[inline]
    pub fn lasts(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Takes a line from the budget, or counts it as suppressed.
    pub fn take(&self) -> bool {
        let granted = self.left.fetch_sub(1, Ordering::Relaxed) > 0;
        if !granted {
            self.suppress(1);
        }
        granted
    }

    /// Counts lines that are not logged because the budget is used up.
    #[inline]
    pub fn suppress(&self, count: u64) {
        self.suppressed.fetch_add(count, Ordering::Relaxed);
    }

    /// Starts a new second. If lines were suppressed in the last one, logs how many. Returns that number.
    pub fn refill(&self, per_second: u32) -> u64 {
        self.left.store(per_second.into(), Ordering::Relaxed);
        let count = self.suppressed.swap(0, Ordering::Relaxed);
        if count > 0 {
            tracing::info!(event = self.event, count, "events suppressed");
        }
        count
    }
}

/// Logs an event of the data path, if its level is logged and its budget allows.
#[macro_export]
macro_rules! event_within {
    ($budget:expr, $level:ident, $($event:tt)+) => {
        // The cheapest check comes first. `enabled!` takes a lock, because levels can change at a reload.
        if $crate::logging::may_log(tracing::Level::$level) {
            if !$budget.lasts() {
                $budget.suppress(1);
            } else if tracing::enabled!(tracing::Level::$level) && $budget.take() {
                tracing::event!(tracing::Level::$level, $($event)+);
            }
        }
    };
}
