//! How the daemons start, stop, reload, and what becomes of them when they fail.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::{
    DAEMONS, SERVER, ask, await_both_active, connects, drop_in, edit, has_logged, is_active, journal,
    message, metrics, status_line, stored, undo,
};
use crate::system::machine::{Machine, await_that, happens_within};

const PORTS: [&str; 3] = [SERVER, "127.0.0.1:9888", "127.0.0.1:9889"];
/// How long a state is watched that must not change.
const WATCH: Duration = Duration::from_secs(3);

pub(super) fn stop(machine: &Machine) -> String {
    machine.sh("systemctl stop servidor cliente");
    for daemon in DAEMONS {
        assert_eq!(machine.property(daemon, "Result"), "success", "{daemon}");
        assert_eq!(machine.property(daemon, "ExecMainStatus"), "0", "{daemon}");
        assert!(has_logged(machine, daemon, "stopped"), "{daemon}");
    }
    await_that("the sockets are closed", || PORTS.iter().all(|port| !connects(machine, port)));
    machine.sh("systemctl start servidor cliente");
    assert!(PORTS.iter().all(|port| connects(machine, port)));
    assert_eq!(DAEMONS.map(|daemon| stored(machine, daemon)), ["2", "1"]);
    String::new()
}

/// A drain may last longer than the unit's time-out: the daemon asks for more.
pub(super) fn patient_stop(machine: &Machine) -> String {
    const SILENT: &str = "127.0.0.1:7";
    let _listener = machine.on_network(|| TcpListener::bind(SILENT).expect("nobody else listens there"));
    drop_in(machine, "cliente.service", "[Service]\nTimeoutStopSec=1\n");
    edit(
        machine,
        "cliente",
        &format!("target = [\"{SILENT}\"]\ninterval = \"50ms\"\nreply-timeout = \"4s\""),
    );
    machine.sh("systemctl restart cliente");
    let begun = || metrics(machine, "cliente").count("cliente_rounds_total", &[("server", SILENT)]);
    await_that("a round is under way", || begun() > 0);
    let started = Instant::now();
    machine.sh("systemctl stop cliente");
    let took = started.elapsed();
    assert!(took > Duration::from_secs(1), "it did not wait for the round: {took:?}");
    assert_eq!(machine.property("cliente", "Result"), "success");
    undo(machine);
    format!("{:.1} s", took.as_secs_f64())
}

pub(super) fn stays_stopped(machine: &Machine) -> String {
    let knocked = knocking(machine, || {
        machine.sh("systemctl stop servidor");
        let woken = happens_within(WATCH, || {
            machine.property("servidor", "ActiveState") != "inactive" || connects(machine, SERVER)
        });
        assert!(!woken, "a knock woke it");
    });
    undo(machine);
    format!("{knocked} knocks")
}

pub(super) fn reload(machine: &Machine) -> String {
    let process = machine.property("servidor", "MainPID");
    let limit = || metrics(machine, "servidor").count("servidor_connections_limit", &[]);
    let successful = || metrics(machine, "servidor").count("servidor_config_last_reload_successful", &[]);

    edit(machine, "servidor", "max-connections = 7");
    machine.sh("systemctl reload servidor");
    await_that("the new limit is in force", || limit() == 7);

    edit(machine, "servidor", "max-connections = 0");
    let refused = machine.try_sh("systemctl reload servidor");
    assert!(!refused.status.success(), "systemctl reload hides that the settings are wrong");
    assert!(is_active(machine, "servidor"));
    await_that("the failed reload is in the status line", || {
        status_line(machine, "servidor").starts_with("last reload refused, see the log; ")
    });
    await_that("the failed reload is in the metrics", || successful() == 0);
    assert_eq!(limit(), 7);
    await_that("the failed reload is in the journal", || {
        let errors = journal(machine, "servidor", "--priority=err");
        errors.last().map(message).is_some_and(|last| {
            let told = last["error"].as_str().is_some_and(|error| error.contains("max-connections = 0"));
            last["message"] == "reload failed" && told
        })
    });

    edit(machine, "servidor", "");
    machine.sh("systemctl reload servidor");
    await_that("the shipped file is back in force", || successful() == 1 && limit() == 5);
    await_that("the status line is as before", || status_line(machine, "servidor").starts_with("0 of 5"));
    assert_eq!(machine.property("servidor", "MainPID"), process, "a reload is no restart");

    edit(machine, "cliente", "interval = \"50ms\"");
    machine.sh("systemctl reload cliente");
    let begun = || metrics(machine, "cliente").count("cliente_rounds_total", &[("server", SERVER)]);
    await_that("the new interval is in force", || begun() > 20);
    undo(machine);
    String::new()
}

pub(super) fn killed(machine: &Machine) -> String {
    comes_back_after(machine, "systemctl kill --kill-whom=main --signal=KILL servidor cliente", "signal")
}

pub(super) fn hanging(machine: &Machine) -> String {
    comes_back_after(machine, "systemctl kill --kill-whom=main --signal=STOP servidor cliente", "watchdog")
}

fn comes_back_after(machine: &Machine, harm: &str, result: &str) -> String {
    let processes = || DAEMONS.map(|daemon| machine.property(daemon, "MainPID"));
    let before = processes();
    machine.sh(harm);
    await_that("both come back by themselves", || {
        let now = processes();
        let changed = before.iter().zip(&now).all(|(before, now)| before != now && now != "0");
        changed && DAEMONS.iter().all(|daemon| is_active(machine, daemon))
    });
    for daemon in DAEMONS {
        let told = format!("Failed with result '{result}'");
        machine
            .sh(&format!("journalctl --sync; journalctl --unit={daemon} | grep --fixed-strings \"{told}\""));
    }
    let answer = machine.on_network(|| ask(SERVER, "10\n"));
    assert_eq!(answer.expect("servidor is back"), "PAR\n");
    undo(machine);
    String::new()
}

/// A crash is tried again, a wrong setting is not; nor are the sockets kept open for nobody.
pub(super) fn wrong_setting(machine: &Machine) -> String {
    for daemon in DAEMONS {
        edit(machine, daemon, "no-such-setting = 1");
    }
    knocking(machine, || {
        for daemon in DAEMONS {
            assert!(!machine.try_sh(&format!("systemctl restart {daemon}")).status.success());
        }
        let moved = happens_within(WATCH, || {
            DAEMONS.iter().any(|daemon| machine.property(daemon, "ActiveState") != "failed")
        });
        assert!(!moved, "it was started again");
        for daemon in DAEMONS {
            assert_eq!(machine.property(daemon, "ExecMainStatus"), "78", "{daemon}");
            assert_eq!(machine.property(daemon, "NRestarts"), "0", "{daemon}");
        }
        assert!(PORTS.iter().all(|port| !connects(machine, port)));
    });
    undo(machine);
    String::new()
}

/// Ports that others hold are tried again and again; the delays of the shipped units are made shorter, to try more often.
pub(super) fn taken_ports(machine: &Machine) -> String {
    const TRIES: u32 = 65;
    machine.sh("systemctl stop servidor cliente");
    let others = machine.on_network(|| {
        [SERVER, PORTS[2]].map(|port| TcpListener::bind(port).expect("the daemons have closed it"))
    });
    for daemon in DAEMONS {
        let often = "[Service]\nRestartSec=50ms\nRestartSteps=0\n";
        drop_in(machine, &format!("{daemon}.service"), often);
    }
    machine.sh("systemctl start --no-block servidor cliente");
    let tries = || DAEMONS.map(|daemon| machine.property(daemon, "NRestarts").parse().unwrap_or(0));
    await_that("both are tried many times", || tries().iter().all(|tries: &u32| *tries > TRIES));
    for daemon in DAEMONS {
        machine.sh(&format!("journalctl --sync; journalctl --unit={daemon} | grep --quiet status=69"));
    }
    drop(others);
    await_both_active(machine);
    let [server, client] = tries();
    undo(machine);
    format!("after {server} and {client} tries")
}

/// Without the unit's sandbox and store: it binds what its settings say.
pub(super) fn by_hand(machine: &Machine) -> String {
    machine.sh("systemctl stop cliente servidor");
    machine.sh("systemd-run --quiet --unit=by-hand --property=Type=notify --property=DynamicUser=yes \
         servidor --config /etc/servidor/servidor.toml");
    let answer = machine.on_network(|| ask(SERVER, "11\n"));
    assert_eq!(answer.expect("it is ready once it is bound"), "ÍMPAR\n");
    machine.sh("systemctl stop by-hand");
    undo(machine);
    String::new()
}

/// Does something while a client knocks without a pause; tells how often it did.
fn knocking(machine: &Machine, act: impl FnOnce()) -> u32 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let knocks = scope.spawn(|| {
            machine.on_network(|| {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    // Refused or answered, a knock is a knock.
                    let _ = ask(SERVER, "1\n");
                    count += 1;
                }
                count
            })
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        let count = knocks.join().expect("knocking does not panic");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        count
    })
}
