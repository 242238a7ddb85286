//! One exchange of a connection: bytes in, replies out, without waiting; and what an event loop lends for it.

use protocol::{
    Decoded, MAX_LINE, Number, Plain, Rejection, WINDOW, answer, answer_plain, decode, rejection,
};
use tokio::time::Instant;

use crate::context::Context;
use crate::events::Peer;
use crate::metrics::Tally;

/// The most that is read at once.
pub const READ_SIZE: usize = 16 * 1024;
/// Replies are written when there are so many bytes of them, though requests be left: the bound of a peer's memory.
pub const WRITE_SIZE: usize = 64 * 1024;

/// What an event loop lends to the connection that it serves. Idle ones have no buffers of their own.
pub struct Scratch {
    /// The last reading of the clock: whoever takes a new one leaves it here.
    pub now: Instant,
    /// The tail that was kept, then what is read, then room for zeros: see [`Padded`].
    pub input: Box<[u8]>,
    /// Replies.
    pub output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            now: Instant::now(),
            input: vec![0; MAX_LINE + READ_SIZE + WINDOW].into(),
            output: Vec::with_capacity(WRITE_SIZE + protocol::MAX_REPLY),
        }
    }
}

/// What has become of a batch's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// All lines are answered; from this offset on, a line has begun.
    Tail(usize),
    /// Enough replies for one write: from this offset on, bytes have not been looked at.
    Unread(usize),
    /// A line is too long: it has its error, and nothing behind it counts.
    Oversize,
}

/// Lines, and zeros behind them, so that the last ones too can be looked at through a window.
#[derive(Clone, Copy)]
pub struct Padded<'i> {
    bytes: &'i [u8],
    length: usize,
}

impl<'i> Padded<'i> {
    /// The first `length` bytes; zeros are put behind them.
    ///
    /// # Panics
    ///
    /// If there is no room for the zeros.
    pub fn new(bytes: &'i mut [u8], length: usize) -> Self {
        bytes[length..length + WINDOW].fill(0);
        Self { bytes, length }
    }

    /// The bytes from `begin` on.
    #[must_use]
    pub fn from(self, begin: usize) -> Self {
        Self { bytes: &self.bytes[begin..], length: self.length - begin }
    }

    /// The bytes without the zeros.
    pub fn as_bytes(self) -> &'i [u8] {
        &self.bytes[..self.length]
    }
}

/// Answers the lines of `input` into `output`, until `output` is full; counts them in `tally`, and logs them.
pub fn answer_lines(
    input: Padded<'_>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
    context: &Context,
    peer: Peer,
) -> Rest {
    let logs_numbers = context.events.may_log_numbers();
    let mut passed_over = 0;
    let mut done = 0;
    let rest = loop {
        if done == input.length {
            break Rest::Tail(done);
        }
        if output.len() >= WRITE_SIZE {
            break Rest::Unread(done);
        }
        if !logs_numbers && let Some(Plain { class, consumed }) = answer_plain(input.from(done).bytes, output)
        {
            tally.numbers[class.index()] += 1;
            passed_over += 1;
            done += consumed;
            continue;
        }
        match decode(input.from(done).as_bytes()) {
            Decoded::Request { outcome, consumed } => {
                done += consumed;
                answer_one(&outcome, output, tally, context, peer);
                output.push(b'\n');
            }
            Decoded::Incomplete => break Rest::Tail(done),
            Decoded::Oversize => {
                answer_one(&Err(Rejection::TooLong), output, tally, context, peer);
                output.push(b'\n');
                break Rest::Oversize;
            }
        }
    };
    if passed_over > 0 {
        context.events.numbers_passed_over(passed_over);
    }
    rest
}

/// Answers one request, without a line end.
#[inline]
pub fn answer_one(
    outcome: &Result<Number, Rejection>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
    context: &Context,
    peer: Peer,
) {
    match outcome {
        Ok(number) => {
            output.extend_from_slice(answer(number));
            tally.numbers[number.class().index()] += 1;
            context.events.number_classified(peer, number);
        }
        Err(reason) => {
            output.extend_from_slice(rejection(*reason));
            tally.rejected[reason.index()] += 1;
            context.events.request_rejected(peer, *reason);
        }
    }
}
