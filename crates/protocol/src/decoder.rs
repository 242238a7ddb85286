//! Finds requests in the bytes of a connection. An incomplete request fits in a [`PartialLine`].

use crate::number::{Number, Rejection};

/// The maximum length of a line before its LF, in bytes. A CR counts.
pub const MAX_LINE: usize = 64;

/// What a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A complete line of `consumed` bytes, including its LF.
    Request {
        /// The number, or why it is not one.
        outcome: Result<Number, Rejection>,
        /// How many bytes to skip to the next line.
        consumed: usize,
    },
    /// No LF yet, and at most [`MAX_LINE`] bytes.
    Incomplete,
    /// More than [`MAX_LINE`] bytes without an LF. The end of the line is not waited for.
    Oversize,
}

/// Decodes the first line of `input`.
#[inline]
pub fn decode(input: &[u8]) -> Decoded {
    let window = &input[..input.len().min(MAX_LINE + 1)];
    match memchr::memchr(b'\n', window) {
        Some(end) => Decoded::Request { outcome: parse_line(&window[..end]), consumed: end + 1 },
        None if input.len() > MAX_LINE => Decoded::Oversize,
        None => Decoded::Incomplete,
    }
}

/// Decodes all of `input` as one request without a line end: the end of the stream or a silence ended it.
///
/// # Errors
///
/// If it is not a number.
pub fn decode_unterminated(input: &[u8]) -> Result<Number, Rejection> {
    parse_line(input)
}

fn parse_line(line: &[u8]) -> Result<Number, Rejection> {
    Number::parse(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The incomplete line that a connection keeps between two reads. An idle connection has no other buffer.
#[derive(Clone, Debug)]
pub struct PartialLine {
    bytes: [u8; MAX_LINE],
    length: u8,
}

impl PartialLine {
    /// No bytes.
    pub const EMPTY: Self = Self { bytes: [0; MAX_LINE], length: 0 };

    /// The bytes kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Replaces the bytes kept by `rest`.
    ///
    /// # Panics
    ///
    /// If `rest` is longer than [`MAX_LINE`]. [`decode`] returns [`Decoded::Oversize`] for that, not
    /// [`Decoded::Incomplete`].
    #[inline]
    pub fn keep(&mut self, rest: &[u8]) {
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.length = rest.len().try_into().expect("MAX_LINE fits in a byte");
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}
