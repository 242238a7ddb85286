//! The metrics recorder, the series that both daemons have, and tools for their own series.

pub mod histogram;
mod label;
mod process;
pub mod telemetry;
