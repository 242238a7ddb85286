//! The requests and the right replies to them, drawn and encoded beforehand: nothing is drawn, encoded or parsed while
//! the clock runs.

use protocol::{Number, answer};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::draw::draw;

/// How many numbers there are before they come again.
const NUMBERS: usize = 4096;

/// The most requests that may be under way on one connection.
pub const MOST_DEPTH: usize = 1024;

/// Numbers of every class, as two streams: all requests, and all right replies, end to end.
#[derive(Debug)]
pub(super) struct Mix {
    numbers: Vec<Number>,
    requests: Lines,
    replies: Lines,
}

/// Lines end to end, and where each begins; the last entry is the end of all.
#[derive(Debug)]
struct Lines {
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

impl Lines {
    fn new<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut bytes, mut begins) = (Vec::new(), vec![0]);
        for line in lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
            begins.push(bytes.len());
        }
        Self { bytes, begins }
    }
}

/// Where a connection stands: which reply comes next, and how much of it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    number: usize,
    bytes: usize,
}

impl Mix {
    /// The same in every run, so that runs compare.
    pub(super) fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(30);
        let mut numbers: Vec<Number> = (0..NUMBERS).map(|_| draw(&mut rng)).collect();
        // A batch that begins with the last number goes on with the first ones.
        numbers.extend_from_within(..MOST_DEPTH);
        let requests = Lines::new(numbers.iter().map(Number::as_bytes));
        let replies = Lines::new(numbers.iter().map(answer));
        Self { numbers, requests, replies }
    }

    /// Where the connection of this index begins: each elsewhere, so that they do not ask the same at once.
    pub(super) fn start(connection: usize) -> Position {
        Position { number: connection * 61 % NUMBERS, bytes: 0 }
    }

    /// The next `count` requests after those that are still to be answered.
    pub(super) fn requests(&self, at: Position, unanswered: usize, count: usize) -> &[u8] {
        let first = at.number + unanswered;
        let Lines { bytes, begins } = &self.requests;
        &bytes[begins[first]..begins[first + count]]
    }

    /// The number whose reply comes next.
    pub(super) fn number(&self, at: Position) -> &Number {
        &self.numbers[at.number]
    }

    /// What has come of the next reply, if all of it was right.
    pub(super) fn begun_reply(&self, at: Position) -> &[u8] {
        let begin = self.replies.begins[at.number];
        &self.replies.bytes[begin..begin + at.bytes]
    }

    /// Compares what came with the right replies to `unanswered` requests: how many of them it completed, and where the
    /// connection stands now. Nothing, if anything in it is wrong.
    pub(super) fn check(
        &self,
        at: Position,
        unanswered: usize,
        received: &[u8],
    ) -> Option<(usize, Position)> {
        let Lines { bytes, begins } = &self.replies;
        let from = begins[at.number] + at.bytes;
        let to = from + received.len();
        if to > begins[at.number + unanswered] || bytes[from..to] != *received {
            return None;
        }
        let ended = begins[at.number + 1..].iter().take_while(|&&end| end <= to).count();
        let bytes = to - begins[at.number + ended];
        Some((ended, Position { number: (at.number + ended) % NUMBERS, bytes }))
    }

    /// Where a connection stands when the next reply is over, whatever it was.
    pub(super) fn skip(at: Position) -> Position {
        Position { number: (at.number + 1) % NUMBERS, bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Class;

    use super::*;

    fn replies(mix: &Mix, at: Position, count: usize) -> Vec<u8> {
        (0..count).flat_map(|index| [answer(&mix.numbers[at.number + index]), b"\n"].concat()).collect()
    }

    #[test]
    fn every_class_is_asked() {
        let mix = Mix::new();
        for class in Class::ALL {
            let count = mix.numbers[..NUMBERS].iter().filter(|number| number.class() == class).count();
            assert!(count > NUMBERS / 10, "{class:?}: {count} of {NUMBERS}");
        }
    }

    #[test]
    fn right_replies_are_taken_however_they_are_cut() {
        let mix = Mix::new();
        let start = Mix::start(7);
        let stream = replies(&mix, start, 5);
        let whole = mix.check(start, 5, &stream);
        assert_eq!(whole, Some((5, Position { number: start.number + 5, bytes: 0 })));
        for cut in 1..stream.len() {
            let (first, middle) = mix.check(start, 5, &stream[..cut]).expect("right");
            assert_eq!(mix.begun_reply(middle), &stream[cut - middle.bytes..cut]);
            let (second, end) = mix.check(middle, 5 - first, &stream[cut..]).expect("right");
            assert_eq!(Some((first + second, end)), whole);
        }
    }

    #[test]
    fn one_wrong_byte_or_one_byte_too_many_is_found() {
        let mix = Mix::new();
        let start = Mix::start(1);
        let stream = replies(&mix, start, 3);
        for index in 0..stream.len() {
            let mut wrong = stream.clone();
            wrong[index] ^= 1;
            assert_eq!(mix.check(start, 3, &wrong), None, "byte {index}");
        }
        assert_eq!(mix.check(start, 2, &stream[..=replies(&mix, start, 2).len()]), None);
    }

    #[test]
    fn the_last_number_is_followed_by_the_first() {
        let mix = Mix::new();
        let last = Position { number: NUMBERS - 1, bytes: 0 };
        let asked = [mix.numbers[NUMBERS - 1].as_bytes(), b"\n", mix.numbers[0].as_bytes(), b"\n"].concat();
        assert_eq!(mix.requests(last, 0, 2), asked);
        let (count, end) = mix.check(last, 2, &replies(&mix, last, 2)).expect("right");
        assert_eq!((count, end.number), (2, 1));
    }
}
