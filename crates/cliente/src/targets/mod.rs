//! Which servers can be probed: targets, their labels, and the file that lists them.

pub mod file;
pub mod labels;
pub mod target;
