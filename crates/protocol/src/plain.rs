//! A fast path for plain lines, which are most of the input of a busy server: no branch depends on their digits.
//!
//! A line is plain if it is a number in canonical form followed by LF. The line and its reply fit in a window of 32 bytes,
//! which is read and copied as a whole. [`crate::decode`] handles all other lines, and gives the same results for plain
//! ones.

use crate::number::{Class, LARGE_ABOVE, MAX_DIGITS};

/// How many bytes [`answer_plain`] reads: a sign, the digits of the longest number, LF.
pub const WINDOW: usize = MAX_DIGITS + 2;

const EVEN: [u8; WINDOW] = padded(b"PAR\n");
const ODD: [u8; WINDOW] = padded("ÍMPAR\n".as_bytes());
const EVEN_LENGTH: usize = "PAR\n".len();
const ODD_LENGTH: usize = "ÍMPAR\n".len();

/// A plain line that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The class of its number.
    pub class: Class,
    /// Its length, including its LF.
    pub consumed: usize,
}

/// Appends the reply to the first line of `input`, including its LF, to `output`, if the line is plain and `input` has at
/// least [`WINDOW`] bytes. So the last lines must be followed by other bytes, preferably zeros.
#[inline]
pub fn answer_plain(input: &[u8], output: &mut Vec<u8>) -> Option<Plain> {
    let window: &[u8; WINDOW] = input.first_chunk()?;
    let sign = usize::from(window[0] == b'-');
    let end = end_of_digits(window, sign);
    let digits = end.wrapping_sub(sign);
    if *window.get(end)? != b'\n' || !(1..=MAX_DIGITS).contains(&digits) || (window[sign] == b'0' && end > 1)
    {
        return None;
    }
    let (class, reply, length) = if digits > LARGE_ABOVE {
        (Class::Large, window, end + 1)
    } else if window[end - 1] & 1 == 0 {
        (Class::Even, &EVEN, EVEN_LENGTH)
    } else {
        (Class::Odd, &ODD, ODD_LENGTH)
    };
    let begin = output.len();
    output.extend_from_slice(reply);
    output.truncate(begin + length);
    Some(Plain { class, consumed: end + 1 })
}

/// Where the digits after the sign end. The window's length or more if they do not end in it.
fn end_of_digits(window: &[u8; WINDOW], sign: usize) -> usize {
    const HALF: usize = WINDOW / 2;
    let (low, high) = window.split_at(HALF);
    let low = others_than_digits(low) & !(0x80 * sign as u128);
    let high = others_than_digits(high);
    let in_low = low.trailing_zeros() as usize / 8;
    let in_high = HALF + high.trailing_zeros() as usize / 8;
    if low == 0 { in_high } else { in_low }
}

/// Sixteen bytes at once: sets the highest bit of each byte that is not a digit.
fn others_than_digits(bytes: &[u8]) -> u128 {
    const EACH: u128 = u128::MAX / 0xff;
    let mut word = [0; size_of::<u128>()];
    word.copy_from_slice(bytes);
    // A digit is now 0 to 9. Adding 0x76 to anything larger sets the highest bit, without a carry into the next byte.
    let word = u128::from_le_bytes(word) ^ (EACH * 0x30);
    (((word & (EACH * 0x7f)) + EACH * 0x76) | word) & (EACH * 0x80)
}

const fn padded(reply: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window.split_at_mut(reply.len()).0.copy_from_slice(reply);
    window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoded, answer, decode};

    /// The result of `decode` and `answer` for a canonical line. `None` for any other line.
    fn expected(input: &[u8]) -> Option<(Plain, Vec<u8>)> {
        let Decoded::Request { outcome: Ok(number), consumed } = decode(input) else { return None };
        let canonical = number.as_bytes() == &input[..consumed - 1];
        canonical.then(|| (Plain { class: number.class(), consumed }, [answer(&number), b"\n"].concat()))
    }

    fn assert_as_expected(line: &[u8]) {
        for behind in [[b'7'; 40], [b'\n'; 40], [0xff; 40]] {
            let input = [line, &behind].concat();
            let mut output = b"before".to_vec();
            let plain = answer_plain(&input, &mut output);
            let shown = line.escape_ascii();
            match expected(&input) {
                Some((answered, reply)) => {
                    assert_eq!(plain, Some(answered), "{shown}");
                    assert_eq!(output, [b"before", &reply[..]].concat(), "{shown}");
                }
                None => assert_eq!((plain, output), (None, b"before".to_vec()), "{shown}"),
            }
        }
    }

    #[test]
    fn numbers_of_every_length_get_the_same_reply_as_from_the_decoder() {
        for digits in 1..=40 {
            for (sign, last) in
                [("", "8"), ("-", "8"), ("", "3"), ("-", "3"), ("+", "2"), ("", "0"), ("-", "0")]
            {
                for first in ["1", "0", "9"] {
                    let middle = "5".repeat(digits - 1);
                    assert_as_expected(format!("{sign}{first}{middle}{last}\n").as_bytes());
                    assert_as_expected(format!("{sign}{middle}{last}\n").as_bytes());
                }
            }
        }
    }

    #[test]
    fn any_byte_at_any_position_is_noticed() {
        for position in 0..32 {
            for byte in 0..=u8::MAX {
                let mut line = *b"-123456789012345678901234567890\n";
                line[position] = byte;
                assert_as_expected(&line);
                let mut short = *b"1234567\n";
                short[position % 8] = byte;
                assert_as_expected(&short);
            }
        }
    }

    #[test]
    fn the_last_bytes_are_left_to_the_decoder() {
        let mut output = Vec::new();
        assert_eq!(answer_plain(b"1\n2\n3\n", &mut output), None);
        assert_eq!(output, b"");
    }
}
