//! Sends numbers to servers, checks the answers and measures the round trips, for each target at a fixed rate.
//!
//! The modules in the order in which a round passes through them:
//!
//! ```text
//! rounds ──► probes ──► probe ──► schedule, draw ──► resolve ──► round ──► observe
//! thread     which?      one       when? what?        where?      ask       metrics, totals, log, report
//! ```

pub mod bench;
mod control;
pub mod draw;
mod hash;
mod host;
pub mod observe;
mod page;
pub mod probes;
pub mod resolve;
pub mod round;
pub mod rounds;
pub mod schedule;
pub mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod stall;
pub mod targets;

/// Registers every series, so that all are there at the first scrape, which may come before the first round.
pub fn register_series(totals: &observe::totals::Totals, targets: &[targets::labels::Labelled]) {
    control::Metrics::register();
    drop(observe::schedule_delay());
    totals.metrics.follow(targets);
}
