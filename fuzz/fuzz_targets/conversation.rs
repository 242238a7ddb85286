//! However a stream is cut into reads, the same replies come out; and the fast path says what the decoder says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Decoded, PartialLine, answer, answer_plain, decode, rejection};

/// The replies to `chunks`, read one after the other, and what is left at the end.
fn conversation(chunks: &[&[u8]], fast: bool) -> (Vec<u8>, Vec<u8>) {
    let mut replies = Vec::new();
    let mut partial = PartialLine::EMPTY;
    for chunk in chunks {
        let buffer = [partial.as_bytes(), chunk].concat();
        let mut rest = &buffer[..];
        loop {
            if fast && let Some(plain) = answer_plain(rest, &mut replies) {
                rest = &rest[plain.consumed..];
                continue;
            }
            match decode(rest) {
                Decoded::Request { outcome, consumed } => {
                    match &outcome {
                        Ok(number) => replies.extend_from_slice(answer(number)),
                        Err(reason) => replies.extend_from_slice(rejection(*reason)),
                    }
                    replies.push(b'\n');
                    rest = &rest[consumed..];
                }
                Decoded::Incomplete => break,
                Decoded::Oversize => return (replies, b"oversize".to_vec()),
            }
        }
        partial.keep(rest);
    }
    (replies, partial.as_bytes().to_vec())
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    let whole = conversation(&[&stream], false);
    assert_eq!(conversation(&[&stream], true), whole, "the fast path disagrees");
    let mut chunks = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (chunk, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks.push(rest);
    assert_eq!(conversation(&chunks, true), whole, "the cuts change the replies");
});
