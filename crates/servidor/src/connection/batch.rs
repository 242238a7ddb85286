//! One batch of requests: bytes in, replies out.

use protocol::{
    Decoded, MAX_LINE, MAX_REPLY, Number, Plain, Rejection, WINDOW, answer, answer_plain, decode, rejection,
};

use crate::log::{Log, Peer};
use crate::metrics::Tally;

/// The most that is read at once.
pub(crate) const READ_SIZE: usize = 16 * 1024;
/// Replies are sent when there are so many bytes of them, even if requests are left. Bounds what a peer can make us hold.
pub(crate) const WRITE_SIZE: usize = 64 * 1024;

/// What an event loop lends to the connection that it serves: idle connections have no buffers.
pub(crate) struct Buffers {
    /// The partial line that was kept, what is read behind it, room for zeros: see [`Padded`].
    pub(crate) input: Box<[u8]>,
    /// Replies.
    pub(crate) output: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            input: vec![0; MAX_LINE + READ_SIZE + WINDOW].into(),
            output: Vec::with_capacity(WRITE_SIZE + MAX_REPLY),
        }
    }
}

/// What is left of a batch's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// All lines are answered. From this offset on, there is a partial line, or nothing.
    Partial(usize),
    /// There are enough replies for one send. From this offset on, requests have not been looked at.
    Unread(usize),
    /// A line is too long. It has its error, and what is behind it does not count.
    Oversize,
}

/// Lines with zeros behind them, so that the last lines too can be looked at through a window.
#[derive(Clone, Copy)]
pub(crate) struct Padded<'i> {
    bytes: &'i [u8],
    length: usize,
}

impl<'i> Padded<'i> {
    /// The first `length` bytes. Zeros are put behind them.
    ///
    /// # Panics
    ///
    /// If there is no room for the zeros.
    pub(crate) fn new(bytes: &'i mut [u8], length: usize) -> Self {
        bytes[length..length + WINDOW].fill(0);
        Self { bytes, length }
    }

    /// The bytes from `begin` on.
    pub(crate) fn from(self, begin: usize) -> Self {
        Self { bytes: &self.bytes[begin..], length: self.length - begin }
    }

    /// The bytes without the zeros.
    pub(crate) fn as_bytes(self) -> &'i [u8] {
        &self.bytes[..self.length]
    }
}

/// Answers the lines of `input` into `output`, until `output` is full. Counts them in `tally`, and logs them.
pub(crate) fn answer_lines(
    input: Padded<'_>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
    log: &Log,
    peer: Peer,
) -> Rest {
    let logs_numbers = log.may_log_numbers();
    let mut not_logged = 0;
    let mut done = 0;
    let rest = loop {
        if done == input.length {
            break Rest::Partial(done);
        }
        if output.len() >= WRITE_SIZE {
            break Rest::Unread(done);
        }
        if !logs_numbers && let Some(Plain { class, consumed }) = answer_plain(input.from(done).bytes, output)
        {
            tally.numbers[class.index()] += 1;
            not_logged += 1;
            done += consumed;
            continue;
        }
        match decode(input.from(done).as_bytes()) {
            Decoded::Request { outcome, consumed } => {
                done += consumed;
                answer_one(&outcome, output, tally, log, peer);
                output.push(b'\n');
            }
            Decoded::Incomplete => break Rest::Partial(done),
            Decoded::Oversize => {
                answer_one(&Err(Rejection::TooLong), output, tally, log, peer);
                output.push(b'\n');
                break Rest::Oversize;
            }
        }
    };
    if not_logged > 0 {
        log.numbers_not_logged(not_logged);
    }
    rest
}

/// Answers one request, without a line end.
#[inline]
pub(crate) fn answer_one(
    outcome: &Result<Number, Rejection>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
    log: &Log,
    peer: Peer,
) {
    match outcome {
        Ok(number) => {
            output.extend_from_slice(answer(number));
            tally.numbers[number.class().index()] += 1;
            log.number_classified(peer, number);
        }
        Err(reason) => {
            output.extend_from_slice(rejection(*reason));
            tally.rejected[reason.index()] += 1;
            log.request_rejected(peer, *reason);
        }
    }
}
