//! What the daemons share with the service manager: descriptors, messages, the watchdog.

pub mod descriptors;
pub mod notifier;
pub mod store;
pub mod watchdog;
