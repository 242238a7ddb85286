//! What both daemons share, and nothing of what they do: settings, logs, metrics, the HTTP side, signals, systemd.
//!
//! This crate knows no number and no round. It decides no policy of either daemon: it is told names, defaults and
//! what to call, and `main` wires it.

pub mod accept;
mod container;
pub mod exit;
pub mod http;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod open_files;
pub mod phase;
pub mod plural;
pub mod runtime;
pub mod settings;
pub mod signals;
pub mod supervisor;
pub mod systemd;
