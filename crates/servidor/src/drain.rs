//! The deadlines of a stop.

use std::time::{Duration, Instant};

/// How long a new connection may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// The share of `drain-timeout` for connections. The rest is for the end of the process.
const SHARE_FOR_CONNECTIONS: f64 = 0.9;

/// When connections must have ended after the daemon was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// How long to wait for first requests.
    pub(crate) first_request: Instant,
    /// How long to wait for peers that do not read.
    pub(crate) forced: Instant,
}

impl Drain {
    /// A drain that begins `now` and may take `drain_timeout`.
    pub(crate) fn new(now: Instant, drain_timeout: Duration) -> Self {
        let forced = now + drain_timeout.mul_f64(SHARE_FOR_CONNECTIONS);
        Self { first_request: forced.min(now + FIRST_REQUEST), forced }
    }
}
