//! What threads do to each other, in every order that loom finds: `cargo xtask loom`.
//!
//! `parts` explores single types. `server` explores whole event loops, on a `kernel` of its own.

mod kernel;
mod parts;
mod server;
