//! One round: resolve, connect, send, receive, verify; each phase under a deadline of its own.

mod steps;

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::{MAX_DIGITS, MAX_REPLY, Number, Verdict, answer, judge};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use self::steps::{Progress, Steps};
use crate::failure::Failure;
use crate::target::Target;

/// How long a server may take to close after us. One that does not is left, and that is no failure.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a round may take, and whether its connection is for the next round too.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// For resolving; and again, for connecting.
    pub connect_timeout: Duration,
    /// From the request's first byte to the reply's last.
    pub reply_timeout: Duration,
    /// Whether to keep the connection.
    pub keep: bool,
}

/// What a round found.
#[derive(Debug)]
pub struct Outcome {
    /// How long it took to connect; nothing if no connection was made, as when a kept one was used.
    pub connect: Option<Duration>,
    /// The round trip, if the reply was right: from before the request's write to after the reply's last read.
    ///
    /// Beyond the time between the two packets it includes the way into the kernel with the request, and the way back
    /// with the reply: the waking of this program, by far the most of it when the processor had gone to sleep.
    /// `tests/truth.rs` measures that.
    pub result: Result<Duration, Failure>,
    /// All the time it took.
    pub elapsed: Duration,
}

/// One target, and the connection kept to it.
#[derive(Debug)]
pub struct Link {
    target: Target,
    kept: Option<TcpStream>,
}

struct Reply {
    round_trip: Duration,
    ended: bool,
}

impl Link {
    /// Not connected yet.
    pub fn new(target: Target) -> Self {
        Self { target, kept: None }
    }

    /// Asks about `number`.
    pub async fn round(&mut self, number: Number, terms: Terms) -> Outcome {
        let begun = Instant::now();
        let mut connect = None;
        let result = self.ask(&number, terms, &mut connect).await;
        Outcome { connect, result, elapsed: begun.elapsed() }
    }

    async fn ask(
        &mut self,
        number: &Number,
        terms: Terms,
        connect_time: &mut Option<Duration>,
    ) -> Result<Duration, Failure> {
        let reused = self.reuse(terms.keep)?;
        let steps = Steps::of(&self.target);
        let mut stream = if let Some(stream) = reused {
            stream
        } else {
            let addresses = resolve(&self.target, terms.connect_timeout).await?;
            steps.resolved(&addresses);
            let begun = Instant::now();
            let stream = connect(&addresses, terms.connect_timeout, steps).await?;
            *connect_time = Some(begun.elapsed());
            steps.connected(&stream);
            stream
        };
        let mut progress = Progress::default();
        let reply = timeout(terms.reply_timeout, exchange(&mut stream, number, &mut progress)).await;
        steps.exchanged(progress);
        let reply = reply.map_err(|_| Failure::ReplyTimeout(terms.reply_timeout))??;
        if !reply.ended {
            if terms.keep {
                self.kept = Some(stream);
            } else {
                farewell(&mut stream).await?;
            }
        }
        Ok(reply.round_trip)
    }

    /// Takes the kept connection, unless the server has ended it meanwhile: that is no failure.
    ///
    /// The socket itself is asked: the runtime may not have heard of a FIN that is there.
    fn reuse(&mut self, keep: bool) -> Result<Option<TcpStream>, Failure> {
        let Some(stream) = self.kept.take().filter(|_| keep) else { return Ok(None) };
        match SockRef::from(&stream).peek(&mut [MaybeUninit::uninit()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(stream)),
            Err(_) | Ok(0) => Ok(None),
            Ok(_) => Err(Failure::Surplus),
        }
    }
}

/// The first of `target`'s addresses that takes a connection.
pub(crate) async fn find(target: &Target, connect_timeout: Duration) -> Result<SocketAddr, Failure> {
    let addresses = resolve(target, connect_timeout).await?;
    connect(&addresses, connect_timeout, Steps::of(target)).await?.peer_addr().map_err(Failure::Broken)
}

async fn resolve(target: &Target, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = timeout(limit, lookup_host((target.host(), target.port()))).await;
    Ok(addresses.map_err(|_| Failure::ResolveTimeout(limit))?.map_err(Failure::Resolve)?.collect())
}

/// Tries one address after the other, all under one deadline.
async fn connect(addresses: &[SocketAddr], limit: Duration, steps: Steps<'_>) -> Result<TcpStream, Failure> {
    let first_that_accepts = async {
        let mut failure = Failure::Resolve(io::Error::other("it has no address"));
        for &address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream.set_nodelay(true).map(|()| stream).map_err(Failure::Broken),
                Err(error) => {
                    steps.not_connected(address, &error);
                    failure = Failure::Connect { address, error };
                }
            }
        }
        Err(failure)
    };
    timeout(limit, first_that_accepts).await.map_err(|_| Failure::ConnectTimeout(limit))?
}

/// Sends `number` and reads until the reply can be judged. `progress` says how far it came, even if it is cut short.
///
/// The clock is read right beside the system calls, with nothing between that could take time.
async fn exchange<S>(stream: &mut S, number: &Number, progress: &mut Progress) -> Result<Reply, Failure>
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
    // A server that hangs up without reading may have said why, so this is looked at only after what it said.
    let written = stream.write_all(request).await;
    progress.sent = written.as_ref().map_or(0, |()| request.len());
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

/// Says that nothing more will be asked, and waits for the server's end: what is closed with bytes unread is
/// reset, and a second reply that comes now is as wrong as one that came with the first.
async fn farewell<S>(stream: &mut S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = async {
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    match timeout(FAREWELL, end).await {
        Ok(Ok(1..)) => Err(Failure::Surplus),
        // However it ended, or if it did not: what was asked for had come.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
