//! One batch of requests: reads it, answers its lines, sends the replies.

use std::ops::Range;

use protocol::{
    Decoded, Number, Plain, Rejection, WINDOW, answer, answer_plain, decode, decode_unterminated, rejection,
};

use super::{Connection, Next, READ};
use crate::environment::{Environment, WRITE_SIZE};
use crate::kernel::{Errno, Kernel, retry};
use crate::log::{Log, Peer};
use crate::metrics::{CloseReason, Tally};

impl<K: Kernel> Connection<K> {
    /// Reads once, and answers. `None` if there was nothing to read.
    pub(super) fn read_batch(&mut self, env: &mut Environment<K>) -> Result<Option<Next>, Errno> {
        let kept = self.partial.as_bytes().len();
        env.input[..kept].copy_from_slice(self.partial.as_bytes());
        let end = env.input.len() - WINDOW;
        let read = match retry(|| env.kernel.receive(&self.socket, &mut env.input[kept..end])) {
            Ok(0) => return self.answer_partial(CloseReason::Client, env).map(Some),
            Ok(read) => read,
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        };
        env.context.log.requests_read(self.record.peer, read);
        self.last_read = env.now;
        if kept == 0 {
            self.line_began = env.now;
        }
        if self.finishes_for(env.drain).is_some() {
            self.read_while_finishing += read;
        }
        self.answer(0..kept + read, env).map(Some)
    }

    /// Answers this range of the input, which begins with the partial line, until the kernel takes no more replies.
    pub(super) fn answer(
        &mut self,
        mut range: Range<usize>,
        env: &mut Environment<K>,
    ) -> Result<Next, Errno> {
        loop {
            let mut tally = Tally::default();
            env.output.clear();
            let observer = (&env.context.log, self.record.peer);
            let rest = answer_lines(&mut env.input, range.clone(), &mut env.output, &mut tally, observer);
            let requests = tally.requests();
            if requests > 0 {
                self.terminated = true;
                self.line_began = env.now;
                self.record.requests += requests;
                env.metrics().batch_answered(&tally);
            }
            let (partial, unread, then) = match rest {
                Rest::Partial(begin) => (begin..range.end, range.end, None),
                Rest::Unread(begin) => (begin..begin, begin, None),
                Rest::Oversize => (0..0, range.end, Some(CloseReason::Oversize)),
            };
            self.partial.keep(&env.input[partial]);
            if requests == 0 {
                return Ok(READ);
            }
            match self.send(unread..range.end, then, env)? {
                READ if unread < range.end => range.start = unread,
                next => return Ok(next),
            }
        }
    }

    /// Treats the partial line as a request that nothing will terminate, answers it with a line end only if the peer uses
    /// them, and closes.
    pub(super) fn answer_partial(
        &mut self,
        reason: CloseReason,
        env: &mut Environment<K>,
    ) -> Result<Next, Errno> {
        if self.partial.is_empty() {
            return Ok(Next::Close(reason));
        }
        let mut tally = Tally::default();
        env.output.clear();
        let request = self.partial.as_bytes();
        let outcome = decode_unterminated(request);
        answer_one(&outcome, request, &mut env.output, &mut tally, (&env.context.log, self.record.peer));
        let reason = if self.terminated {
            env.output.push(b'\n');
            reason
        } else {
            CloseReason::Unterminated
        };
        self.partial.keep(&[]);
        self.record.requests += 1;
        env.metrics().batch_answered(&tally);
        self.send(0..0, Some(reason), env)
    }
}

/// The rest of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
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
fn answer_lines(
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
fn answer_one(
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
