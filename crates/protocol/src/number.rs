//! A decimal integer of at most 30 significant digits, kept as text.

use std::fmt;

/// The maximum count of significant digits in a number.
pub const MAX_DIGITS: usize = 30;

/// A number with more significant digits than this is large.
pub(crate) const LARGE_ABOVE: usize = 10;

/// An integer in canonical form: no leading zeros, no `+`, no `-0`. Valid by construction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Number {
    text: [u8; MAX_DIGITS + 1],
    length: u8,
}

/// How this protocol classifies a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// More than ten significant digits.
    Large,
    /// At most ten significant digits, and the last one is even.
    Even,
    /// At most ten significant digits, and the last one is odd.
    Odd,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 3] = [Self::Large, Self::Even, Self::Odd];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Even => "even",
            Self::Odd => "odd",
        }
    }

    /// The position in [`Class::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a line is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nothing but spaces and tabs.
    #[error("an empty line")]
    Empty,
    /// Something other than an optional sign and decimal digits.
    #[error("not a decimal integer")]
    Invalid,
    /// More than [`MAX_DIGITS`] significant digits, or a line of more than [`crate::MAX_LINE`] bytes.
    #[error("more than {MAX_DIGITS} digits")]
    TooLong,
}

impl Rejection {
    /// Every reason, in the order of [`Rejection::index`].
    pub const ALL: [Self; 3] = [Self::Empty, Self::Invalid, Self::TooLong];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Invalid => "invalid",
            Self::TooLong => "too_long",
        }
    }

    /// The position in [`Rejection::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Number {
    /// Reads optional spaces and tabs, an optional sign, decimal digits, optional spaces and tabs.
    ///
    /// # Errors
    ///
    /// Why `text` is not a number. Text that is not decimal digits is [`Rejection::Invalid`] whatever its length.
    pub fn parse(text: &[u8]) -> Result<Self, Rejection> {
        let text = trim(text);
        let (negative, digits) = match text {
            [] => return Err(Rejection::Empty),
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        // Without an early exit, the compiler processes sixteen bytes at a time.
        let all_digits = digits.iter().fold(true, |all, byte| all & byte.is_ascii_digit());
        let [.., last] = digits else { return Err(Rejection::Invalid) };
        if !all_digits {
            return Err(Rejection::Invalid);
        }
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        let significant = if zeros == digits.len() { std::slice::from_ref(last) } else { &digits[zeros..] };
        if significant.len() > MAX_DIGITS {
            return Err(Rejection::TooLong);
        }
        Ok(Self::from_significant(negative && significant != b"0", significant))
    }

    fn from_significant(negative: bool, digits: &[u8]) -> Self {
        let sign = usize::from(negative);
        let mut text = [b'-'; MAX_DIGITS + 1];
        text[sign..sign + digits.len()].copy_from_slice(digits);
        Self { text, length: u8::try_from(sign + digits.len()).expect("31 fits in a byte") }
    }

    /// The canonical text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }

    /// The canonical text.
    ///
    /// # Panics
    ///
    /// Never: a number is ASCII by construction.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a number is ASCII")
    }

    /// How many significant digits it has; zero has one.
    pub fn digits(&self) -> usize {
        usize::from(self.length) - usize::from(self.text[0] == b'-')
    }

    /// Large, even or odd.
    pub fn class(&self) -> Class {
        if self.digits() > LARGE_ABOVE {
            Class::Large
        } else if self.text[usize::from(self.length) - 1] & 1 == 0 {
            Class::Even
        } else {
            Class::Odd
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Number({self})")
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}
