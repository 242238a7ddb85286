//! The whole server on a simulated kernel, whose every choice comes from the input: what its peers send and when, what
//! the kernel does, how event loops take turns.
#![no_main]

use libfuzzer_sys::fuzz_target;
use servidor::simulation::{Input, run};

fuzz_target!(|input: &[u8]| {
    let report = run(Input::Bytes(input), false);
    assert_eq!(report.violation, None);
});
