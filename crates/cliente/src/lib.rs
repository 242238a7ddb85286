//! Asks, checks the answer and measures the round trip, for each target at a fixed rate.

pub mod draw;
pub mod failure;
pub mod report;
pub mod round;
pub mod schedule;
pub mod target;
