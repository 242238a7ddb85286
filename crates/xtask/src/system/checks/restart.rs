//! Restarts that nobody notices: the socket stays, connections queue in it, and no round fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use super::support::{SERVER, ask, drop_in, is_active, metrics, rounds, undo};
use crate::system::machine::{Machine, await_that};

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

/// The crash of a server costs the round that it was answering; whoever comes later queues.
pub(super) fn killed_ten_times(machine: &Machine) -> String {
    quick_client(machine);
    let mut lost = 0;
    for _ in 0..10 {
        let process = machine.property("servidor", "MainPID");
        machine.sh("systemctl kill --kill-whom=main --signal=KILL servidor");
        await_that("it comes back", || {
            is_active(machine, "servidor") && machine.property("servidor", "MainPID") != process
        });
        let begun = rounds(machine).0;
        await_that("rounds go on", || rounds(machine).0 > begun + 1);
        let failed = rounds(machine).1;
        assert!(failed - lost <= 1, "{}", metrics(machine, "cliente").text);
        lost = failed;
    }
    let (begun, failed) = rounds(machine);
    undo(machine);
    format!("{failed} of {begun} rounds failed")
}

pub(super) fn quick_client(machine: &Machine) {
    drop_in(machine, "cliente.service", "[Service]\nEnvironment=CLIENTE_INTERVAL=10ms\n");
    machine.sh("systemctl restart cliente");
}

fn restarts(machine: &Machine, count: u32) -> u64 {
    quick_client(machine);
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
