//! The decoder and its fast path against a slow reference, which reads one byte at a time and counts with integers; the stream is cut
//! anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{
    Decoded, MAX_LINE, PartialLine, WINDOW, answer, answer_plain, decode, decode_unterminated, rejection,
};

/// What comes of a stream of requests.
#[derive(Debug, PartialEq)]
struct Conversation {
    replies: Vec<u8>,
    /// The bytes after the last line end. `None` if a line is too long, so that the connection ends.
    rest: Option<Vec<u8>>,
}

/// As the server does it: the bytes that are left of one read come before those of the next, and zeros follow them.
fn shipped(chunks: &[&[u8]]) -> Conversation {
    let mut replies = Vec::new();
    let mut partial = PartialLine::EMPTY;
    for chunk in chunks {
        let end = partial.as_bytes().len() + chunk.len();
        let buffer = [partial.as_bytes(), chunk, &[0; WINDOW]].concat();
        let mut begin = 0;
        loop {
            if let Some(plain) = answer_plain(&buffer[begin..], &mut replies) {
                begin += plain.consumed;
                continue;
            }
            match decode(&buffer[begin..end]) {
                Decoded::Request { outcome, consumed } => {
                    match &outcome {
                        Ok(number) => replies.extend_from_slice(answer(number)),
                        Err(reason) => replies.extend_from_slice(rejection(*reason)),
                    }
                    replies.push(b'\n');
                    begin += consumed;
                }
                Decoded::Incomplete => break,
                Decoded::Oversize => return Conversation { replies, rest: None },
            }
        }
        partial.keep(&buffer[begin..end]);
    }
    Conversation { replies, rest: Some(partial.as_bytes().to_vec()) }
}

fn reference(stream: &[u8]) -> Conversation {
    let mut replies = Vec::new();
    let mut line = Vec::new();
    for &byte in stream {
        if byte == b'\n' {
            replies.extend(reply(&line));
            replies.push(b'\n');
            line.clear();
        } else {
            line.push(byte);
        }
        if line.len() > 64 {
            return Conversation { replies, rest: None };
        }
    }
    Conversation { replies, rest: Some(line) }
}

/// The reply to a line, by the README.
fn reply(line: &[u8]) -> Vec<u8> {
    let mut text: String = line.iter().copied().map(char::from).collect();
    if text.ends_with('\r') {
        text.pop();
    }
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return "ERRO vazio: esperado um número inteiro, por exemplo 42".into();
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|character| ('0'..='9').contains(&character)) {
        return "ERRO invalido: esperado um número inteiro em dígitos decimais, por exemplo -42".into();
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > 30 {
        return "ERRO longo: esperado no máximo 30 dígitos em uma linha de 64 bytes".into();
    }
    let value: u128 = if significant.is_empty() { 0 } else { significant.parse().expect("30 digits") };
    if value >= 10_000_000_000 {
        let sign = if text.starts_with('-') { "-" } else { "" };
        format!("{sign}{value}").into()
    } else if value % 2 == 0 {
        "PAR".into()
    } else {
        "ÍMPAR".into()
    }
}

/// The reply to bytes without a line end.
fn unterminated(rest: &[u8]) -> Vec<u8> {
    match decode_unterminated(rest) {
        Ok(number) => answer(&number).to_vec(),
        Err(reason) => rejection(reason).to_vec(),
    }
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    let expected = reference(&stream);
    let mut chunks = Vec::new();
    let mut rest = &stream[..];
    for cut in cuts {
        let (chunk, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks.push(rest);
    for chunks in [&chunks[..], &[&stream]] {
        assert_eq!(shipped(chunks), expected, "in {} parts", chunks.len());
    }
    if let Some(rest) = &expected.rest {
        assert!(rest.len() <= MAX_LINE);
        assert_eq!(unterminated(rest), reply(rest), "without a line end");
    }
});
