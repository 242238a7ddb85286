//! The upgrade from version 0.1.0, whose sockets systemd bound, and the way back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::restart::quick_client;
use super::support::{SERVER, ask, await_both_active, connects, is_active, stored};
use crate::system::machine::Machine;

const SOCKETS: [&str; 2] = ["servidor.socket", "servidor-metrics.socket"];
const PERIOD: Duration = Duration::from_millis(10);
const INSTALL: &str = "dpkg --force-confdef --force-confold --install";

pub(super) fn old_installed(machine: &Machine) -> String {
    machine.sh(&format!("{INSTALL} /packages/servidor-0.1.0.deb /packages/cliente-0.1.0.deb"));
    await_both_active(machine);
    assert!(SOCKETS.iter().all(|socket| is_active(machine, socket)));
    machine.sh("dpkg-query --show servidor").replace('\t', " ")
}

pub(super) fn upgraded(machine: &Machine) -> String {
    quick_client(machine);
    // Another package's script may come first: its reload of systemd must not leave the sockets open for good.
    let outage = outage(machine, || {
        machine.sh("dpkg --unpack --force-confdef --force-confold /packages/servidor.deb
            systemctl daemon-reload
            dpkg --configure servidor");
    });
    machine.sh(&format!("{INSTALL} /packages/cliente.deb"));
    await_both_active(machine);
    assert!(!SOCKETS.iter().any(|socket| is_active(machine, socket)));
    assert_eq!(stored(machine, "servidor"), "2");
    machine.sh("journalctl --sync; ! journalctl --unit=servidor | grep 'status=69'");
    assert!(outage <= Duration::from_secs(1), "no answers for {outage:?}");
    format!("no answers for {:.0} ms", outage.as_secs_f64() * 1e3)
}

pub(super) fn downgraded(machine: &Machine) -> String {
    machine.sh(&format!("{INSTALL} /packages/servidor-0.1.0.deb"));
    await_both_active(machine);
    assert!(SOCKETS.iter().all(|socket| is_active(machine, socket)));
    assert!(connects(machine, SERVER) && connects(machine, "127.0.0.1:9888"));
    String::new()
}

/// Does something while a client asks every 10 ms; tells the longest time without an answer.
fn outage(machine: &Machine, act: impl FnOnce()) -> Duration {
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            machine.on_network(move || {
                let (mut longest, mut last) = (Duration::ZERO, Instant::now());
                while is_done.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    if ask(SERVER, "1\n").is_ok_and(|answer| answer == "ÍMPAR\n") {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                }
                longest.max(last.elapsed())
            })
        });
        let outcome = catch_unwind(AssertUnwindSafe(act));
        drop(done);
        let longest = client.join().expect("asking does not panic");
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
        longest
    })
}
