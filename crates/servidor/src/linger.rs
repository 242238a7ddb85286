//! Closing first without harm: FIN, then the peer's bytes are read and dropped for a while.
//!
//! A socket that is closed while bytes are unread, or that gets more, answers with RST, and an RST may overtake the
//! reply that went before it (RFC 1122, 4.2.2.13).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

/// How many sockets may linger; the oldest are closed for newer ones.
pub(crate) const MOST_LINGERING: usize = 64;
/// For how long.
const LINGER: Duration = Duration::from_secs(1);

/// Drops what the peer still sends until it closes too, or until the time is up: one second, or `by`.
pub(crate) async fn linger(mut stream: impl AsyncRead + Unpin, by: Option<Instant>) {
    let mut dropped = [0; 4096];
    let until = Instant::now() + LINGER;
    let until = by.map_or(until, |by| until.min(by));
    // It ends with the peer's FIN, its RST, or the time.
    let _ = timeout_at(until, async { while matches!(stream.read(&mut dropped).await, Ok(1..)) {} }).await;
}
