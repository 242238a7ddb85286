//! The reply to each request, without its line end, and a client's check of a reply.

use crate::number::{Class, Number, Rejection};

/// Sent to a connection over the limit, before it is closed.
pub const BUSY: &[u8] = "ERRO ocupado: todos os lugares estão tomados; tente mais tarde".as_bytes();

/// The maximum length of a reply, including its line end. A client need not read further.
pub const MAX_REPLY: usize = 128;

const ERROR: &[u8] = b"ERRO ";

/// The reply to a number: the number itself if it is large, else its parity.
#[inline]
pub fn answer(number: &Number) -> &[u8] {
    match number.class() {
        Class::Large => number.as_bytes(),
        Class::Even => b"PAR",
        Class::Odd => "ÍMPAR".as_bytes(),
    }
}

/// The reply to a line that is not a number: a stable code, then what was expected.
pub const fn rejection(reason: Rejection) -> &'static [u8] {
    match reason {
        Rejection::Empty => "ERRO vazio: esperado um número inteiro, por exemplo 42".as_bytes(),
        Rejection::Invalid => {
            "ERRO invalido: esperado um número inteiro em dígitos decimais, por exemplo -42".as_bytes()
        }
        Rejection::TooLong => "ERRO longo: esperado no máximo 30 dígitos em uma linha de 64 bytes".as_bytes(),
    }
}

/// The result of checking the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are the right reply to the number.
    Right,
    /// They cannot become the right reply: another answer, an answer that is too long, or extra bytes after it.
    Wrong,
    /// The server replied `ERRO`.
    ServerError,
    /// The server ended the connection without a byte.
    Closed,
    /// They may still become any of these.
    Incomplete,
}

/// Checks `received`, all bytes received in reply to `number`. `ended` means that no more will come.
///
/// A reply ends with LF or with the end of the stream, as those of the original program do.
pub fn judge(number: &Number, received: &[u8], ended: bool) -> Verdict {
    let expected = answer(number);
    let (line, surplus) = match memchr::memchr(b'\n', received) {
        Some(end) => (&received[..end], received.len() > end + 1),
        None if ended && received.is_empty() => return Verdict::Closed,
        None if ended => (received, false),
        None => {
            let promising = expected.starts_with(received)
                || ERROR.starts_with(received)
                || (received.starts_with(ERROR) && received.len() < MAX_REPLY);
            return if promising { Verdict::Incomplete } else { Verdict::Wrong };
        }
    };
    if line.starts_with(ERROR) {
        Verdict::ServerError
    } else if line == expected && !surplus {
        Verdict::Right
    } else {
        Verdict::Wrong
    }
}
