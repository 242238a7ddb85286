//! Rounds against servers whose every move is known.

mod exchange;
mod names;
mod session;

use testkit::DEADLINE;

use super::*;

const FRESH: Options = Options {
    connect_timeout: DEADLINE,
    reply_timeout: DEADLINE,
    stall_threshold: DEADLINE,
    keep: false,
    wanted: Wanted::ANY,
};
const KEPT: Options = Options { keep: true, ..FRESH };

fn number(text: &str) -> Number {
    Number::parse(text.as_bytes()).expect("a number")
}
