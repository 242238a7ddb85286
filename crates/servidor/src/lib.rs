//! The server: `event_loop` (acceptor) → `connection` → `protocol` → `connection`.
//!
//! Follow one number: the acceptor of the first `event_loop` lets its connection in, an event loop knows when there is
//! something to read, `connection` reads it, `protocol` judges it, and `connection` sends the reply. What is counted and
//! logged on the way is in `metrics` and `log`.

mod connection;
mod context;
mod drain;
mod environment;
mod event_loop;
#[cfg(feature = "simulation")]
mod fail_point;
mod kernel;
mod limit;
mod log;
mod metrics;
mod page;
mod server;
pub mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;

pub use context::Context;
pub use metrics::Metrics;
pub use server::{ServerError, Serving};
