//! How many lines of the data path are logged: each message has a budget for the second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How many more lines one message may log within the second; what is over it is counted.
#[derive(Debug)]
pub struct Budget {
    event: &'static str,
    left: AtomicI64,
    suppressed: AtomicU64,
}

impl Budget {
    /// The budget of the lines whose message is `event`.
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

    /// Counts lines that a budget which did not last keeps from the log.
    #[inline]
    pub fn suppress(&self, count: u64) {
        self.suppressed.fetch_add(count, Ordering::Relaxed);
    }

    /// Begins a new second, and sums up the last one in a line if lines were suppressed; says how many.
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
        // In the order of what it costs to ask: `enabled!` takes a lock, since levels can change while running.
        if $crate::logging::may_log(tracing::Level::$level) {
            if !$budget.lasts() {
                $budget.suppress(1);
            } else if tracing::enabled!(tracing::Level::$level) && $budget.take() {
                tracing::event!(tracing::Level::$level, $($event)+);
            }
        }
    };
}
