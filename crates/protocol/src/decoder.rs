//! Finds requests in the bytes of a connection; what is not yet complete fits in a [`PartialLine`].

use crate::number::{Number, Rejection};

/// The most bytes that a line may have before its LF; a CR counts.
pub const MAX_LINE: usize = 64;

/// What the first bytes of a buffer hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole line of `consumed` bytes, its LF included.
    Request {
        /// The number, or why it is none.
        outcome: Result<Number, Rejection>,
        /// How many bytes to drop before the next line begins.
        consumed: usize,
    },
    /// No LF yet, and at most [`MAX_LINE`] bytes: more must come.
    Incomplete,
    /// More than [`MAX_LINE`] bytes without an LF: the line's end is not in sight, and never waited for.
    Oversize,
}

/// Takes the first line of `input`.
#[inline]
pub fn decode(input: &[u8]) -> Decoded {
    let window = &input[..input.len().min(MAX_LINE + 1)];
    match memchr::memchr(b'\n', window) {
        Some(end) => Decoded::Request { outcome: parse_line(&window[..end]), consumed: end + 1 },
        None if input.len() > MAX_LINE => Decoded::Oversize,
        None => Decoded::Incomplete,
    }
}

/// Takes all of `input` as one request that nothing ends: the end of the stream or a silence did.
///
/// # Errors
///
/// Says what it is when it is no number.
pub fn decode_unterminated(input: &[u8]) -> Result<Number, Rejection> {
    parse_line(input)
}

fn parse_line(line: &[u8]) -> Result<Number, Rejection> {
    Number::parse(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The unfinished line that a connection keeps between two reads: all that an idle peer costs in buffers.
#[derive(Clone, Debug)]
pub struct PartialLine {
    bytes: [u8; MAX_LINE],
    length: u8,
}

impl PartialLine {
    /// Nothing kept.
    pub const EMPTY: Self = Self { bytes: [0; MAX_LINE], length: 0 };

    /// The bytes kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Keeps `rest` in place of what was kept.
    ///
    /// # Panics
    ///
    /// If `rest` is longer than [`MAX_LINE`]: [`decode`] says [`Decoded::Oversize`] to that, not
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
