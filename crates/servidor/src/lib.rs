//! The server.
//!
//! A number passes through these modules in this order: the acceptor of the first `event_loop` accepts its connection, an
//! event loop finds it ready, `connection` reads the number, `protocol` classifies it, and `connection` sends the reply. `metrics` and `log` count and log all that.

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
#[cfg(all(test, servidor_loom))]
mod models;
mod page;
mod server;
pub mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;

pub use context::Context;
pub use metrics::Metrics;
pub use server::{ServerError, Serving};
