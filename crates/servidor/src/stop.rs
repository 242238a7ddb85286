//! The stop: announced once to all, together with the deadlines that go with it.

use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::Instant;

/// How long a connection that has sent nothing yet may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Whether to stop, and by when.
#[derive(Debug, Default)]
pub struct Stop(SetOnce<Deadlines>);

/// By when what must have ended.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Nothing waits for a first request any longer.
    pub first_request: Instant,
    /// Connections are closed, whatever they are at.
    pub forced: Instant,
}

impl Stop {
    /// Begins the stop: all is to be over within `drain_timeout`. A stop that has begun is not put off.
    pub fn begin(&self, drain_timeout: Duration) {
        let now = Instant::now();
        // The last tenth is for closing by force, and for the process to end.
        let forced = now + drain_timeout.mul_f64(0.9);
        let _ = self.0.set(Deadlines { first_request: forced.min(now + FIRST_REQUEST), forced });
    }

    /// Waits for the stop to begin.
    pub async fn begun(&self) -> Deadlines {
        *self.0.wait().await
    }

    /// Whether the stop has begun.
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.0.initialized()
    }

    /// The deadlines, if the stop has begun.
    pub fn if_begun(&self) -> Option<Deadlines> {
        self.0.get().copied()
    }
}
