//! The health check: asks the running daemon whether it is ready.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// For the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const MAX_ANSWER: usize = 1024;
/// How many characters are shown of an answer that is not HTTP.
const MAX_SHOWN: usize = 80;

/// Why a daemon does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The connection was refused.
    #[error("nobody listens there (Connection refused)")]
    Refused,
    /// It took too long.
    #[error("no answer within {TIMEOUT:?}")]
    Silent,
    /// The connection ended before there was an answer.
    #[error("closed without an answer: is this host in metrics-allow of the daemon that runs there?")]
    Closed,
    /// The answer was no: its status and the first line of its body.
    #[error("{0}")]
    Status(String),
    /// Another service listens there. This is the beginning of its answer.
    #[error("no HTTP but {0:?}")]
    NoHttp(String),
    /// Any other error.
    #[error("{0}")]
    Other(io::Error),
}

impl From<io::Error> for NotReady {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error),
        }
    }
}

/// Asks the daemon whose HTTP side is at `address` whether it is ready; a wildcard address means loopback.
///
/// # Errors
///
/// If the daemon is not ready, or does not answer.
pub fn ask_ready(address: SocketAddr) -> Result<(), NotReady> {
    let answer = ask(reachable(address), Instant::now() + TIMEOUT)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.strip_prefix("HTTP/1.1 ") {
        Some(status) if status.starts_with("200 ") => Ok(()),
        Some(status) => {
            let says = body.lines().next().unwrap_or_default();
            Err(NotReady::Status(format!("{}: {}", status.escape_debug(), says.escape_debug())))
        }
        None if answer.is_empty() => Err(NotReady::Closed),
        None => Err(NotReady::NoHttp(status.chars().take(MAX_SHOWN).collect())),
    }
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Sends the request, and returns the beginning of the answer.
fn ask(address: SocketAddr, deadline: Instant) -> Result<String, NotReady> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(NotReady::Silent) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET /-/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; MAX_ANSWER];
    let mut length = 0;
    while length < MAX_ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut answer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What has arrived is an answer, even if the connection ended in a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && length > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
