//! Does nothing, and ends when asked to: a container that runs this can hold a network for others, which may then
//! restart without taking it away from each other.

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    // As a container's first process it would not be ended by a signal that it does not handle.
    match Signals::new([SIGINT, SIGTERM]) {
        Ok(mut signals) => {
            signals.forever().next();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pause: signals cannot be handled: {error}");
            ExitCode::FAILURE
        }
    }
}
