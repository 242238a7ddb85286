//! The server with a few connections on a simulated kernel: the input chooses each step of the peers (send, wait, read slowly or not at
//! all, FIN, RST, close), the time that passes, partial reads and writes, errors, reloads and the stop. The oracle of the simulation
//! checks each system call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use servidor::simulation::{Input, run};

fuzz_target!(|input: &[u8]| {
    let report = run(Input::FewPeers(input), false);
    assert_eq!(report.violation, None);
});
