//! The client reads a reply: bytes in any pieces, errors, silence, the end. Its verdict is that of a slow reference, it reads no more
//! than the longest reply, and what it says stays short.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use cliente::round::exchange::{Progress, close_lingering, exchange};
use cliente::round::failure::Failure;
use cliente::round::reason::Reason;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use protocol::{MAX_REPLY, Number};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(3);
/// The bytes that are shown may be no UTF-8: each then takes three. What is escaped takes six.
const MAX_MESSAGE: usize = 6 * MAX_REPLY + 100;

#[derive(Arbitrary, Debug)]
struct Input {
    digits: Vec<u8>,
    is_negative: bool,
    write: Write,
    pieces: Vec<Piece>,
    then: Then,
}

#[derive(Arbitrary, Clone, Debug)]
enum Piece {
    /// The right reply, or a part of it.
    Right(u8, u8),
    Error,
    Bytes(Vec<u8>),
    /// The reader is woken without anything to read.
    Nothing,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Write {
    Whole,
    ByteByByte,
    Fails,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Then {
    Ends,
    Resets,
    Waits,
}

/// The server, as the client's socket shows it.
struct Script {
    write: Write,
    written: Vec<u8>,
    pieces: Vec<Option<Vec<u8>>>,
    then: Then,
    read: usize,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pieces.first().is_some_and(|piece| piece.as_ref().is_some_and(Vec::is_empty)) {
            self.pieces.remove(0);
        }
        match self.pieces.first_mut() {
            Some(None) => {
                self.pieces.remove(0);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(piece)) => {
                let count = piece.len().min(buffer.remaining());
                buffer.put_slice(&piece[..count]);
                piece.drain(..count);
                self.read += count;
                Poll::Ready(Ok(()))
            }
            None => match self.then {
                Then::Ends => Poll::Ready(Ok(())),
                Then::Resets => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Then::Waits => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = match self.write {
            Write::Whole => bytes.len(),
            Write::ByteByByte => 1.min(bytes.len()),
            Write::Fails => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Input {
    /// A number in its canonical form.
    fn number(&self) -> String {
        let digits: String = self.digits.iter().take(30).map(|digit| char::from(b'0' + digit % 10)).collect();
        match digits.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits if self.is_negative => format!("-{digits}"),
            digits => digits.to_owned(),
        }
    }

    /// What is read at most at a time; `None` is a wake-up for nothing.
    fn pieces(&self, right: &[u8]) -> Vec<Option<Vec<u8>>> {
        let right = [right, b"\n"].concat();
        let piece = |piece: &Piece| match piece {
            Piece::Right(from, to) => {
                let from = usize::from(*from).min(right.len());
                Some(right[from..usize::from(*to).clamp(from, right.len())].to_vec())
            }
            Piece::Error => Some(b"ERRO longo: ".to_vec()),
            Piece::Bytes(bytes) => Some(bytes.clone()),
            Piece::Nothing => None,
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// The right reply, by the README.
fn right_reply(number: &str) -> Vec<u8> {
    let value: i128 = number.parse().expect("30 digits");
    match value {
        _ if value.unsigned_abs() >= 10_000_000_000 => number.into(),
        _ if value % 2 == 0 => "PAR".into(),
        _ => "ÍMPAR".into(),
    }
}

/// The reply and whether the stream ended with it, or what is wrong; and the bytes that were not looked at.
fn reference(input: &Input, right: &[u8]) -> (Result<bool, Reason>, Vec<Option<Vec<u8>>>) {
    let mut pieces = input.pieces(right);
    let mut received: Vec<u8> = Vec::new();
    while !pieces.is_empty() {
        let room = 128 - received.len();
        let Some(piece) = &mut pieces[0] else {
            pieces.remove(0);
            continue;
        };
        received.extend(piece.drain(..room.min(piece.len())));
        if piece.is_empty() {
            pieces.remove(0);
        }
        if let Some(end) = received.iter().position(|&byte| byte == b'\n') {
            let verdict = match &received[..end] {
                line if line.starts_with(b"ERRO ") => Err(Reason::ServerError),
                line if line == right && received.len() == end + 1 => Ok(false),
                _ => Err(Reason::WrongReply),
            };
            return (verdict, pieces);
        }
        let may_be_error = b"ERRO ".starts_with(&received) || received.starts_with(b"ERRO ");
        if !(right.starts_with(&received) || (may_be_error && received.len() < 128)) {
            return (Err(Reason::WrongReply), pieces);
        }
    }
    let verdict = match input.then {
        Then::Waits => Err(Reason::ReplyTimeout),
        Then::Resets => Err(Reason::Reset),
        Then::Ends if received.is_empty() && input.write == Write::Fails => Err(Reason::Reset),
        Then::Ends if received.is_empty() => Err(Reason::Closed),
        Then::Ends if received.starts_with(b"ERRO ") => Err(Reason::ServerError),
        Then::Ends if received == right => Ok(true),
        Then::Ends => Err(Reason::WrongReply),
    };
    (verdict, pieces)
}

async fn ask(stream: &mut Script, number: &Number, progress: &mut Progress) -> Result<bool, Reason> {
    let short = |failure: Failure| {
        assert!(failure.to_string().len() <= MAX_MESSAGE, "{failure}");
        failure.reason()
    };
    let reply = timeout(PATIENCE, exchange(stream, number, progress)).await;
    let reply = reply.map_err(|_| Reason::ReplyTimeout)?.map_err(short)?;
    assert!(reply.round_trip <= PATIENCE);
    Ok(reply.ended)
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

fuzz_target!(|input: Input| {
    let text = input.number();
    let number = Number::parse(text.as_bytes()).expect("a number");
    let right = right_reply(&text);
    let (expected, rest) = reference(&input, &right);
    let mut stream = Script {
        write: input.write,
        written: Vec::new(),
        pieces: input.pieces(&right),
        then: input.then,
        read: 0,
    };
    let mut progress = Progress::default();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let verdict = ask(&mut stream, &number, &mut progress).await;
            assert_eq!(verdict, expected, "{text}");
            assert!(stream.read <= MAX_REPLY && stream.read == progress.received);
            if input.write == Write::Fails {
                assert_eq!(progress.sent, 0);
            } else {
                assert_eq!(stream.written, format!("{text}\n").into_bytes());
                assert_eq!(progress.sent, stream.written.len());
            }
            if verdict == Ok(false) {
                let has_more = rest.iter().flatten().any(|piece| !piece.is_empty());
                let closed = timeout(PATIENCE, close_lingering(&mut stream)).await.expect("it has a limit");
                let expected = if has_more { Err(Reason::WrongReply) } else { Ok(()) };
                assert_eq!(closed.map_err(|failure| failure.reason()), expected, "{text}");
            }
        });
    });
});
