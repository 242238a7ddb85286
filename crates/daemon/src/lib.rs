//! What both daemons share: settings, logs, metrics, the HTTP side, signals, systemd.
//!
//! This crate knows nothing about numbers or rounds, and decides nothing for either daemon. Each `main` passes it names,
//! defaults and callbacks.

pub mod accept;
pub mod clock;
mod container;
pub mod exit;
pub mod http;
pub mod listener;
pub mod logging;
pub mod metrics;
#[cfg(all(test, servidor_loom))]
mod models;
pub mod open_files;
pub mod phase;
pub mod plural;
pub mod runtime;
pub mod settings;
pub mod signals;
mod spare_files;
pub mod supervisor;
pub mod sync;
pub mod systemd;
