//! The wire protocol between `cliente` and `servidor`, as pure functions over bytes.
//!
//! This crate does no I/O, reads no clock, logs nothing, allocates nothing and needs no runtime. It never parses a number
//! into an integer: the count of significant digits and the last digit decide.
//!
//! ```text
//!            request                                      reply
//!  ┌────────────────────────────┐              ┌─────────────────────────────┐
//!  │ [ \t]* [+-]? 0-9+ [ \t]*   │              │ more than 10 digits: itself │
//!  │ LF | CRLF                  │ ── class ──► │ even: PAR    odd: ÍMPAR     │
//!  │ at most 64 bytes before LF │              │ else: ERRO code: text       │
//!  └────────────────────────────┘              └─────────────────────────────┘
//!     decoder ──► number ─────────────────────────► reply
//! ```
//!
//! Read [`decoder`] first, then [`number`], then [`reply`]: a request takes the same path.
#![forbid(unsafe_code)]

pub mod decoder;
pub mod number;
pub mod plain;
pub mod reply;

pub use decoder::{Decoded, MAX_LINE, PartialLine, decode, decode_unterminated};
pub use number::{Class, MAX_DIGITS, Number, Rejection};
pub use plain::{Plain, WINDOW, answer_plain};
pub use reply::{BUSY, MAX_REPLY, Verdict, answer, judge, rejection};
