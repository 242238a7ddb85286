//! The expected replies, computed slowly from the contract: byte by byte, and with real integers.

use protocol::{BUSY, Rejection, rejection};

/// The maximum length of a line before its LF.
const LONGEST_LINE: usize = 64;

/// The requests of a connection, and the expected replies.
#[derive(Default)]
pub(super) struct Wire {
    /// All replies so far.
    pub(super) replies: Vec<u8>,
    /// Where each reply begins, and how its request is counted.
    pub(super) counted: Vec<(usize, Counted)>,
    /// The incomplete line.
    pub(super) partial: Vec<u8>,
    pub(super) has_seen_lf: bool,
    pub(super) is_oversize: bool,
    /// The partial line was treated as a request. Bytes after it are ignored.
    pub(super) tail_is_answered: bool,
}

/// How a request is counted in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Large,
    Even,
    Odd,
    Empty,
    Invalid,
    TooLong,
}

impl Wire {
    /// Adds bytes that the server has read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.is_oversize || self.tail_is_answered {
                return;
            }
            if byte == b'\n' {
                let line = std::mem::take(&mut self.partial);
                self.has_seen_lf = true;
                self.reply(&line);
                self.replies.push(b'\n');
                continue;
            }
            self.partial.push(byte);
            if self.partial.len() > LONGEST_LINE {
                self.is_oversize = true;
                self.partial.clear();
                self.begin_reply(Counted::TooLong);
                self.replies.extend(rejection(Rejection::TooLong));
                self.replies.push(b'\n');
            }
        }
    }

    /// The reply to the partial line if it is treated as a request now.
    pub(super) fn tail_reply(&self) -> Vec<u8> {
        let (_, mut reply) = answer(&self.partial);
        if self.has_seen_lf {
            reply.push(b'\n');
        }
        reply
    }

    /// Treats the partial line as a request.
    pub(super) fn answer_tail(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.reply(&line);
        if self.has_seen_lf {
            self.replies.push(b'\n');
        }
        self.tail_is_answered = true;
    }

    /// Replaces everything by the message for a refused peer.
    pub(super) fn refuse(&mut self) {
        self.replies = busy();
    }

    fn reply(&mut self, line: &[u8]) {
        let (counted, reply) = answer(line);
        self.begin_reply(counted);
        self.replies.extend(reply);
    }

    fn begin_reply(&mut self, counted: Counted) {
        self.counted.push((self.replies.len(), counted));
    }
}

/// The message for a refused peer.
pub(super) fn busy() -> Vec<u8> {
    [BUSY, b"\n"].concat()
}

/// The reply to a line, without a line end.
fn answer(line: &[u8]) -> (Counted, Vec<u8>) {
    let rejected = |reason| rejection(reason).to_vec();
    let mut text = line.to_vec();
    if text.last() == Some(&b'\r') {
        text.pop();
    }
    let blank = |byte: Option<&u8>| byte == Some(&b' ') || byte == Some(&b'\t');
    while blank(text.last()) {
        text.pop();
    }
    while blank(text.first()) {
        text.remove(0);
    }
    if text.is_empty() {
        return (Counted::Empty, rejected(Rejection::Empty));
    }
    let is_negative = text[0] == b'-';
    if is_negative || text[0] == b'+' {
        text.remove(0);
    }
    if text.is_empty() || text.iter().any(|byte| !byte.is_ascii_digit()) {
        return (Counted::Invalid, rejected(Rejection::Invalid));
    }
    while text.len() > 1 && text[0] == b'0' {
        text.remove(0);
    }
    if text.len() > 30 {
        return (Counted::TooLong, rejected(Rejection::TooLong));
    }
    let digits = String::from_utf8(text).expect("digits are ASCII");
    if digits.len() > 10 {
        let sign = if is_negative { "-" } else { "" };
        return (Counted::Large, format!("{sign}{digits}").into_bytes());
    }
    let number: u64 = digits.parse().expect("ten digits fit");
    match number % 2 {
        0 => (Counted::Even, b"PAR".to_vec()),
        _ => (Counted::Odd, "ÍMPAR".as_bytes().to_vec()),
    }
}
