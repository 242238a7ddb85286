//! Sends one request and reads its reply.

use std::io;
use std::time::Duration;

use protocol::{MAX_DIGITS, MAX_REPLY, Number, Verdict, answer, judge};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::deadline::within;
use super::failure::Failure;
use super::reason::{Reason, reason_of};

/// How long the server may take to close its side after us. A server that does not is left alone, without a failure.
pub const LINGER: Duration = Duration::from_secs(1);

/// A right reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// From before the request's write to after the reply's last read.
    pub round_trip: Duration,
    /// Whether the server ended the connection with it.
    pub ended: bool,
}

/// How far an exchange has come, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Of the request: all or none.
    pub sent: usize,
    /// Of the reply.
    pub received: usize,
}

/// Sends `number` and reads until the reply can be judged. `progress` has the number of bytes sent and received, even if this
/// is cut short.
///
/// The clock is read right beside the system calls, with nothing between that could take time.
///
/// # Errors
///
/// Why there is no right reply.
pub async fn exchange<S>(stream: &mut S, number: &Number, progress: &mut Progress) -> Result<Reply, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let digits = number.as_bytes();
    let mut request = [b'\n'; MAX_DIGITS + 2];
    request[..digits.len()].copy_from_slice(digits);
    let request = &request[..=digits.len()];
    let mut received = [0; MAX_REPLY];
    let mut length = 0;

    let sent = Instant::now();
    let written = stream.write_all(request).await;
    progress.sent = written.as_ref().map_or(0, |()| request.len());
    // A server that hangs up without reading may have said why: then the error is reported only if no reply came. After any
    // other error no reply will come.
    let written = match written {
        Err(error) if reason_of(&error, Reason::ReplyTimeout) != Reason::Reset => {
            return Err(Failure::Broken(error));
        }
        written => written,
    };
    loop {
        let read = stream.read(&mut received[length..]).await;
        let round_trip = sent.elapsed();
        let count = read.map_err(Failure::Broken)?;
        let ended = count == 0;
        length += count;
        progress.received = length;
        let received = &received[..length];
        match judge(number, received, ended) {
            Verdict::Incomplete => {}
            Verdict::Right => return Ok(Reply { round_trip, ended }),
            Verdict::Wrong => {
                return Err(Failure::Wrong { expected: text(answer(number)), received: text(received) });
            }
            Verdict::ServerError => return Err(Failure::ServerError(text(received.trim_ascii_end()))),
            Verdict::Closed => return Err(written.err().map_or(Failure::Closed, Failure::Broken)),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Shuts down our side, and waits until the server closes its own. A socket that is closed with unread bytes resets the
/// connection, and a second reply that comes now is as wrong as one that came with the first.
///
/// # Errors
///
/// [`Failure::Surplus`] if anything but the end comes.
pub async fn close_lingering<S>(stream: &mut S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = async {
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    let end: Result<io::Result<usize>, _> = within(LINGER, end).await;
    match end {
        Ok(Ok(1..)) => Err(Failure::Surplus),
        // However the connection ended, or if it did not: the reply had come.
        Ok(_) | Err(_) => Ok(()),
    }
}
