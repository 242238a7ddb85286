//! Rounds against servers whose every move is known.

mod exchange;
mod link;

use super::*;

fn number(text: &str) -> Number {
    Number::parse(text.as_bytes()).expect("a number")
}
