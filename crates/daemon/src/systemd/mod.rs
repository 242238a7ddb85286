//! The service manager: inherited sockets, its descriptor store, messages to it, its watchdog.

pub mod descriptors;
pub mod notifier;
pub mod store;
pub mod watchdog;
