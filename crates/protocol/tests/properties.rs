//! Properties for all input, with a big-integer crate as the oracle.

use num_bigint::BigInt;
use proptest::prelude::*;
use protocol::{
    Class, Decoded, MAX_LINE, MAX_REPLY, Number, PartialLine, Rejection, Verdict, answer, decode,
    decode_unterminated, judge, rejection,
};

/// A number, and one way to write it in at most 64 bytes.
fn written_number() -> impl Strategy<Value = (BigInt, String)> {
    (
        "[ \t]{0,5}",
        prop_oneof![Just(""), Just("+"), Just("-")],
        "0{0,10}",
        prop_oneof![Just("0".to_owned()), "[1-9][0-9]{0,29}", "[1-9][0-9]{8,10}"],
        "[ \t]{0,5}",
    )
        .prop_map(|(before, sign, zeros, digits, after)| {
            let value: BigInt = format!("{sign}{digits}").parse().expect("decimal");
            (value, format!("{before}{sign}{zeros}{digits}{after}"))
        })
}

fn oracle(value: &BigInt) -> String {
    if value.magnitude().to_string().len() > 10 {
        value.to_string()
    } else if value % 2 == BigInt::ZERO {
        "PAR".to_owned()
    } else {
        "ÍMPAR".to_owned()
    }
}

/// The replies of a server that reads `chunks`, and keeps the partial line between reads.
fn conversation(chunks: &[&[u8]]) -> Vec<String> {
    let mut said = Vec::new();
    let mut partial = PartialLine::EMPTY;
    for chunk in chunks {
        let buffer = [partial.as_bytes(), chunk].concat();
        let mut rest = &buffer[..];
        loop {
            match decode(rest) {
                Decoded::Request { outcome, consumed } => {
                    said.push(match &outcome {
                        Ok(number) => String::from_utf8_lossy(answer(number)).into_owned(),
                        Err(reason) => String::from_utf8_lossy(rejection(*reason)).into_owned(),
                    });
                    rest = &rest[consumed..];
                }
                Decoded::Incomplete => break,
                Decoded::Oversize => {
                    said.push("closed".to_owned());
                    return said;
                }
            }
        }
        partial.keep(rest);
    }
    said.push(format!("{} left", partial.as_bytes().len()));
    said
}

/// Lines of every kind, and bytes that are not a line.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => written_number().prop_map(|(_, text)| format!("{text}\n").into_bytes()),
        1 => "[0-9]{25,70}\r?\n".prop_map(String::into_bytes),
        1 => "[ -~]{0,20}\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn agrees_with_the_oracle((value, text) in written_number()) {
        let number = Number::parse(text.as_bytes()).expect("a number");
        prop_assert_eq!(number.to_string(), value.to_string());
        prop_assert_eq!(number.digits(), value.magnitude().to_string().len());
        prop_assert_eq!(String::from_utf8_lossy(answer(&number)), oracle(&value));
        prop_assert_eq!(number.class() == Class::Large, number.digits() > 10);
        let line = format!("{text}\r\n");
        prop_assert_eq!(decode(line.as_bytes()), Decoded::Request { outcome: Ok(number), consumed: line.len() });
        prop_assert_eq!(decode_unterminated(text.as_bytes()), Ok(number));
    }

    #[test]
    fn more_than_thirty_digits_is_too_long(digits in "[+-]?0{0,3}[1-9][0-9]{30,59}") {
        prop_assert_eq!(Number::parse(digits.as_bytes()), Err(Rejection::TooLong));
    }

    #[test]
    fn what_is_no_integer_to_the_oracle_is_none_here(text in "[ 0-9+xe._-]{0,20}") {
        let oracle = text.trim_matches([' ', '\t']).parse::<BigInt>().ok().filter(|_| !text.contains('_'));
        prop_assert_eq!(
            Number::parse(text.as_bytes()).ok().map(|number| number.to_string()),
            oracle.map(|value| value.to_string())
        );
    }

    #[test]
    fn every_split_into_two_gives_the_same(bytes in stream()) {
        let whole = conversation(&[&bytes]);
        for at in 0..=bytes.len() {
            prop_assert_eq!(&conversation(&[&bytes[..at], &bytes[at..]]), &whole, "split at {}", at);
        }
    }

    #[test]
    fn byte_by_byte_gives_the_same(bytes in stream()) {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(conversation(&single), conversation(&[&bytes]));
    }

    #[test]
    fn random_chunks_give_the_same(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(conversation(&chunks), conversation(&[&bytes]));
    }

    #[test]
    fn no_bytes_panic_and_consumption_is_a_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match decode(&bytes) {
            Decoded::Request { consumed, .. } => {
                prop_assert_eq!(bytes[consumed - 1], b'\n');
                prop_assert!(!bytes[..consumed - 1].contains(&b'\n'));
                prop_assert!(consumed <= MAX_LINE + 1);
            }
            Decoded::Incomplete => prop_assert!(bytes.len() <= MAX_LINE && !bytes.contains(&b'\n')),
            Decoded::Oversize => prop_assert!(!bytes[..=MAX_LINE].contains(&b'\n')),
        }
    }

    #[test]
    fn the_right_reply_is_right_and_no_other((_, text) in written_number(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let number = Number::parse(text.as_bytes()).expect("a number");
        let line = [answer(&number), b"\n"].concat();
        let bare = answer(&number);
        prop_assert_eq!(judge(&number, &line, false), Verdict::Right);
        prop_assert_eq!(judge(&number, bare, true), Verdict::Right);
        for end in 0..line.len() {
            prop_assert_eq!(judge(&number, &line[..end], false), Verdict::Incomplete);
        }
        for end in 1..bare.len() {
            prop_assert_eq!(judge(&number, &line[..end], true), Verdict::Wrong);
        }
        let mut mutated = line.clone();
        let at = at.index(line.len());
        mutated[at] = byte;
        let expected = if mutated == line { Verdict::Right } else { Verdict::Wrong };
        prop_assert_eq!(judge(&number, &mutated, false), expected);
        prop_assert_eq!(judge(&number, &[&line[..], &[byte]].concat(), false), Verdict::Wrong);
    }
}

#[test]
fn error_replies_are_distinct_and_fit() {
    let number = Number::parse(b"42").expect("a number");
    for reason in Rejection::ALL {
        let line = [rejection(reason), b"\n"].concat();
        assert!(line.len() < MAX_REPLY);
        assert_eq!(judge(&number, &line, false), Verdict::ServerError);
        assert_eq!(judge(&number, &line[..7], false), Verdict::Incomplete);
    }
    assert_eq!(judge(&number, b"", true), Verdict::Closed);
    assert_eq!(judge(&number, &[b"ERRO ", &[b'x'; 200][..]].concat(), false), Verdict::Wrong);
    assert_eq!(judge(&number, b"PAR\r\n", false), Verdict::Wrong);
}

#[test]
fn an_error_reply_is_waited_for_until_it_is_too_long() {
    let number = Number::parse(b"42").expect("a number");
    let mut reply = b"ERRO ".to_vec();
    reply.resize(MAX_REPLY - 1, b'x');
    assert_eq!(judge(&number, &reply, false), Verdict::Incomplete);
    assert_eq!(judge(&number, &reply, true), Verdict::ServerError);
    reply.push(b'x');
    assert_eq!(judge(&number, &reply, false), Verdict::Wrong);
}

#[test]
fn classes_and_rejections_have_the_names_and_positions_that_logs_and_metrics_use() {
    assert_eq!(Class::ALL.map(Class::as_str), ["large", "even", "odd"]);
    assert_eq!(Class::ALL.map(Class::index), [0, 1, 2]);
    assert_eq!(Rejection::ALL.map(Rejection::as_str), ["empty", "invalid", "too_long"]);
    assert_eq!(Rejection::ALL.map(Rejection::index), [0, 1, 2]);
}

#[test]
fn a_partial_line_is_what_was_kept_last() {
    let mut partial = PartialLine::EMPTY;
    assert!(partial.is_empty());
    partial.keep(b"12");
    assert_eq!((partial.is_empty(), partial.as_bytes()), (false, &b"12"[..]));
    partial.keep(b"");
    assert_eq!((partial.is_empty(), partial.as_bytes()), (true, &b""[..]));
}
