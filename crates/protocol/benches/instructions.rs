//! Fixed workloads whose instructions `cargo xtask instructions` counts: `instructions WORK` runs one of them once.
//!
//! Each counted function is called once, after its input has been prepared.

use std::hint::black_box;

use protocol::{Decoded, Verdict, answer, answer_plain, decode, judge, rejection};

const LINES: usize = 4096;

fn main() {
    let work = std::env::args().nth(1).unwrap_or_default();
    let input = black_box(lines());
    let mut output = Vec::with_capacity(LINES * protocol::MAX_REPLY);
    let done = match work.as_str() {
        "decode_and_answer" => decode_and_answer(&input, &mut output),
        "answer_plain_lines" => answer_plain_lines(&input, &mut output),
        "judge_replies" => {
            decode_and_answer(&input, &mut output);
            judge_replies(&input, &output)
        }
        // `cargo bench` calls it without a workload.
        _ => return,
    };
    assert!(done > 0, "the input was not processed");
}

/// Lines of every class, length and kind, the same in every run.
fn lines() -> Vec<u8> {
    let digits = b"918273645546372819012345678909";
    let mut lines = Vec::new();
    for index in 0..LINES {
        match index % 32 {
            7 => {}
            15 => lines.extend(b"12x4"),
            23 => lines.extend([b'7'; 31]),
            27 => lines.extend(b"  +0042 \r"),
            kind => {
                lines.extend(b"-".iter().filter(|_| kind % 2 == 0));
                lines.extend(&digits[index % 7..][..=index * 7 % 24]);
            }
        }
        lines.push(b'\n');
    }
    lines
}

#[inline(never)]
fn decode_and_answer(input: &[u8], output: &mut Vec<u8>) -> usize {
    let mut done = 0;
    while let Decoded::Request { outcome, consumed } = decode(&input[done..]) {
        match &outcome {
            Ok(number) => output.extend_from_slice(answer(number)),
            Err(reason) => output.extend_from_slice(rejection(*reason)),
        }
        output.push(b'\n');
        done += consumed;
    }
    done
}

#[inline(never)]
fn answer_plain_lines(input: &[u8], output: &mut Vec<u8>) -> usize {
    let mut done = 0;
    while done < input.len() {
        let skipped =
            || input[done..].iter().position(|&byte| byte == b'\n').map_or(input.len(), |end| end + 1);
        done += answer_plain(&input[done..], output).map_or_else(skipped, |plain| plain.consumed);
    }
    output.len()
}

#[inline(never)]
fn judge_replies(input: &[u8], mut replies: &[u8]) -> usize {
    let (mut right, mut done) = (0, 0);
    while let Decoded::Request { outcome, consumed } = decode(&input[done..]) {
        let length = replies.iter().position(|&byte| byte == b'\n').map_or(replies.len(), |end| end + 1);
        let (reply, rest) = replies.split_at(length);
        right += usize::from(outcome.is_ok_and(|number| judge(&number, reply, false) == Verdict::Right));
        (replies, done) = (rest, done + consumed);
    }
    right
}
