//! The stop: one token for all, and the deadlines that go with it.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a connection that has sent nothing yet may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Whether to stop, and by when.
#[derive(Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    deadlines: OnceLock<Deadlines>,
}

/// By when what must have ended.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Nothing waits for a first request any longer.
    pub first_request: Instant,
    /// Connections are closed, whatever they are at.
    pub forced: Instant,
}

impl Stop {
    /// Begins the stop: all is to be over within `drain_timeout`.
    pub fn begin(&self, drain_timeout: Duration) {
        let now = Instant::now();
        // The last tenth is for closing by force, and for the process to end.
        let forced = now + drain_timeout.mul_f64(0.9);
        self.deadlines.get_or_init(|| Deadlines { first_request: forced.min(now + FIRST_REQUEST), forced });
        self.token.cancel();
    }

    /// Waits for the stop to begin.
    pub async fn begun(&self) -> Deadlines {
        self.token.cancelled().await;
        self.deadlines()
    }

    /// The deadlines of a stop that has begun; of one that has not, those of a stop without any patience.
    fn deadlines(&self) -> Deadlines {
        let now = Instant::now();
        self.deadlines.get().copied().unwrap_or(Deadlines { first_request: now, forced: now })
    }

    /// The deadlines, if the stop has begun.
    pub fn if_begun(&self) -> Option<Deadlines> {
        self.deadlines.get().copied()
    }
}
