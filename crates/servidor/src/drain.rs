//! The deadlines of a stop.

use std::time::{Duration, Instant};

/// How long a connection that has sent nothing yet may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// The rest of `drain-timeout` is for the process to end.
const SHARE_FOR_CONNECTIONS: f64 = 0.9;

/// By when connections must have ended, once the daemon stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// First requests are waited for until then.
    pub(crate) first_request: Instant,
    /// Peers that do not read are waited for until then.
    pub(crate) forced: Instant,
}

impl Drain {
    /// A drain that begins `now` and may take `drain_timeout`.
    pub(crate) fn new(now: Instant, drain_timeout: Duration) -> Self {
        let forced = now + drain_timeout.mul_f64(SHARE_FOR_CONNECTIONS);
        Self { first_request: forced.min(now + FIRST_REQUEST), forced }
    }
}
