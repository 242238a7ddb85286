//! What threads share data with: the standard library's types, or loom's, which try all interleavings of the threads.
//!
//! What event loops, rounds and scrapes share is made of these, so that `cargo xtask loom` tests the types that ship.
//! `Arc` is not among them: loom's can neither be weak nor hold a slice.

#[cfg(servidor_loom)]
mod channel;
#[cfg(servidor_loom)]
mod explored;

#[cfg(not(servidor_loom))]
pub use std::sync::mpsc::{Receiver, Sender, channel};
#[cfg(not(servidor_loom))]
pub use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(servidor_loom)]
pub use self::explored::*;
