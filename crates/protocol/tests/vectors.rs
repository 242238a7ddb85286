//! Boundary cases of the wire protocol, from a file that other implementations can use too.

use protocol::{Decoded, answer, decode, rejection};

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        match rest.next() {
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('t') => bytes.push(b'\t'),
            Some('x') => {
                let hex: String = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&hex, 16).expect("two hexadecimal digits"));
            }
            other => panic!("unknown escape {other:?} in {text:?}"),
        }
    }
    bytes
}

#[test]
fn every_vector_gets_its_reply() {
    let mut seen = 0;
    for line in include_str!("vectors.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (request, expected) = line.split_once('\t').expect("request, TAB, reply");
        let request = unescape(request);
        let got = match decode(&request) {
            Decoded::Request { outcome, consumed } => {
                assert_eq!(consumed, request.len(), "{line}");
                match &outcome {
                    Ok(number) => answer(number).to_vec(),
                    Err(reason) => {
                        let text = rejection(*reason);
                        text[..text.iter().position(|&b| b == b':').expect("a code")].to_vec()
                    }
                }
            }
            Decoded::Incomplete => b".".to_vec(),
            Decoded::Oversize => b"...".to_vec(),
        };
        assert_eq!(String::from_utf8_lossy(&got), expected, "{line}");
        seen += 1;
    }
    assert!(seen > 50, "only {seen} vectors were read");
}
