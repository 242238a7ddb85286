//! Metrics: the recorder, the series that both daemons have, and what their own series are made with.

pub mod histogram;
mod label;
mod process;
pub mod telemetry;
