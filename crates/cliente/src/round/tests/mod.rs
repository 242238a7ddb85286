//! Rounds against servers whose every move is known.

mod exchange;
mod session;

use super::*;

fn number(text: &str) -> Number {
    Number::parse(text.as_bytes()).expect("a number")
}
