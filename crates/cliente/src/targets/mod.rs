//! Which servers can be probed: targets, their labels, the file that lists them, and which of them this client probes.

pub mod file;
pub mod labels;
pub(crate) mod subset;
pub mod target;
