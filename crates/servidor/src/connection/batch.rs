//! One batch of requests: bytes in, replies out.

use std::ops::Range;

use protocol::{Decoded, Number, Plain, Rejection, WINDOW, answer, answer_plain, decode, rejection};

use crate::environment::WRITE_SIZE;
use crate::log::{Log, Peer};
use crate::metrics::Tally;

/// The rest of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All lines are answered. A partial line, or nothing, starts at this offset.
    Partial(usize),
    /// There are enough replies for one send. Unread requests start at this offset.
    Unread(usize),
    /// A line is too long. Its error is in the output, and the bytes after it are ignored.
    Oversize,
}

/// Answers the lines in this range of `input` into `output`, until `output` is full. Counts them in `tally`, and logs
/// them. Writes zeros after the range, so that its last lines can be read through a full window too.
///
/// # Panics
///
/// If there is no room for the zeros.
pub(super) fn answer_lines(
    input: &mut [u8],
    Range { start, end }: Range<usize>,
    output: &mut Vec<u8>,
    tally: &mut Tally,
    (log, peer): (&Log, Peer),
) -> Rest {
    input[end..end + WINDOW].fill(0);
    let logs_numbers = log.may_log_numbers();
    let mut not_logged = 0;
    let mut done = start;
    let rest = loop {
        if done == end {
            break Rest::Partial(done);
        }
        if output.len() >= WRITE_SIZE {
            break Rest::Unread(done);
        }
        if !logs_numbers && let Some(Plain { class, consumed }) = answer_plain(&input[done..], output) {
            tally.numbers[class.index()] += 1;
            not_logged += 1;
            done += consumed;
            continue;
        }
        match decode(&input[done..end]) {
            Decoded::Request { outcome, consumed } => {
                answer_one(&outcome, &input[done..done + consumed], output, tally, (log, peer));
                done += consumed;
                output.push(b'\n');
            }
            Decoded::Incomplete => break Rest::Partial(done),
            Decoded::Oversize => {
                answer_one(&Err(Rejection::TooLong), &input[done..end], output, tally, (log, peer));
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

/// Writes the reply to `request`, which was decoded to `outcome`, without a line end.
#[inline]
pub(super) fn answer_one(
    outcome: &Result<Number, Rejection>,
    request: &[u8],
    output: &mut Vec<u8>,
    tally: &mut Tally,
    (log, peer): (&Log, Peer),
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
            log.request_rejected(peer, *reason, request);
        }
    }
}
