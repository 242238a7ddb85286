//! Restarts that nobody notices: the socket stays, connections queue in it, and no round fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use super::support::{SERVER, ask, drop_in, metrics, rounds, undo};
use crate::system::machine::Machine;

const AT_ONCE: usize = 20;

/// Under the client alone, which asks as fast as it is answered.
pub(super) fn fifty(machine: &Machine) -> String {
    let begun = restarts(machine, 50);
    undo(machine);
    format!("{begun} rounds")
}

/// With others who crowd the server beside the client, so that most wait in the queue.
pub(super) fn crowded(machine: &Machine) -> String {
    let mut begun = 0;
    let asked = asking(machine, || begun = restarts(machine, 25));
    undo(machine);
    format!("{begun} rounds, and {asked} questions of {AT_ONCE} clients at once")
}

fn restarts(machine: &Machine, count: u32) -> u64 {
    drop_in(machine, "cliente.service", "[Service]\nEnvironment=CLIENTE_INTERVAL=10ms\n");
    machine.sh("systemctl restart cliente");
    for _ in 0..count {
        machine.sh("systemctl restart servidor");
    }
    let (begun, failed) = rounds(machine);
    assert!(begun > 10, "the client was hardly at work: {begun} rounds");
    assert_eq!(failed, 0, "{}", metrics(machine, "cliente").text);
    assert_eq!(machine.property("cliente", "NRestarts"), "0");
    begun
}

/// Does something while many clients ask, each question on a fresh connection; every one must be answered.
pub(super) fn asking(machine: &Machine, act: impl FnOnce()) -> u32 {
    let done = AtomicBool::new(false);
    let asked = AtomicU32::new(0);
    let client = || {
        machine.on_network(|| {
            while !done.load(Ordering::Relaxed) {
                let answer = ask(SERVER, "7\n").unwrap_or_else(|error| panic!("a question failed: {error}"));
                assert_eq!(answer, "ÍMPAR\n");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(client)).collect();
        let outcome = catch_unwind(AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    asked.into_inner()
}
