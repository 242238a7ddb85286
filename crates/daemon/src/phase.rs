//! Where a daemon is between its start and its stop.

/// Where in its life the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all addresses are bound.
    Starting,
    /// At work.
    Ready,
    /// Asked to stop.
    Stopping,
}
