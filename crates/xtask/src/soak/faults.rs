//! What is done to the daemons while they serve.

use std::io::{ErrorKind, Write as _};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use testkit::{Signal, let_pass, scrape, wait_until};

use super::process::Process;

/// How long most of them last.
const TIME: Duration = Duration::from_millis(2500);
/// Longer than `reply-timeout`, and than the timeouts of the server for slow peers.
const STOP: Duration = Duration::from_millis(1500);
const TICK: Duration = Duration::from_millis(50);

/// The daemons, and where the server listens.
pub(super) struct World<'a> {
    pub(super) server: &'a Process,
    pub(super) clients: &'a [Process],
    pub(super) address: SocketAddr,
}

/// A fault and its name.
pub(super) type Fault = (&'static str, fn(&World<'_>));

/// In turn, one each cycle.
pub(super) const FAULTS: [Fault; 5] = [
    ("server stopped", |world| stop(world.server)),
    ("hostile peers", hostile),
    ("full log pipe", full_log_pipe),
    ("client stopped", |world| world.clients.iter().for_each(stop)),
    ("scrape storm", scrape_storm),
];

fn stop(process: &Process) {
    process.signal(Signal::STOP);
    let_pass(Instant::now(), STOP);
    process.signal(Signal::CONT);
}

/// None of them sends a number, so that the ledger stays as it is.
fn hostile(world: &World<'_>) {
    let connect = || TcpStream::connect(world.address).expect("the server listens");
    let five = || (0..5).map(|_| connect()).collect::<Vec<_>>();
    let (_silent, tricklers, deaf) = (five(), five(), five());
    for peer in &deaf {
        peer.set_nonblocking(true).expect("a socket");
    }
    let flood = b"\n".repeat(4096);
    let mut is_kept_waiting = false;
    let start = Instant::now();
    while start.elapsed() < TIME {
        for mut peer in &tricklers {
            // The server ends a line that takes too long.
            let _ = peer.write(b"x");
        }
        for mut peer in &deaf {
            // The server resets who does not read.
            let error = iter::repeat_with(|| peer.write(&flood)).find_map(Result::err);
            is_kept_waiting |= error.is_some_and(|error| error.kind() == ErrorKind::WouldBlock);
        }
        for _ in 0..20 {
            let mut peer = connect();
            peer.write_all(b"x\n").expect("a new connection");
            set_socket_linger(&peer, Some(Duration::ZERO)).expect("a socket");
        }
        let_pass(Instant::now(), TICK);
    }
    assert!(is_kept_waiting, "the server took all that was written");
}

/// Nobody reads the log of the server until lines were dropped; then they come again.
fn full_log_pipe(world: &World<'_>) {
    let dropped = || world.server.scrape().sum("servidor_log_lines_dropped_total", &[]);
    let (before, read) = (dropped(), world.server.lines("number classified"));
    world.server.leave_log_alone(true);
    wait_until("log lines are dropped", || dropped() > before);
    world.server.leave_log_alone(false);
    wait_until("log lines come again", || world.server.lines("number classified") > read + 3000);
}

/// Everyone reads all metrics and pages at the same time, beside connections that ask for nothing.
fn scrape_storm(world: &World<'_>) {
    let addresses = || world.clients.iter().chain([world.server]).map(|process| process.http);
    let _silent: Vec<_> =
        addresses().flat_map(|address| (0..20).map(move |_| TcpStream::connect(address))).collect();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while start.elapsed() < TIME {
                    for address in addresses() {
                        scrape(address);
                        testkit::request(address, "GET", "/");
                    }
                }
            });
        }
    });
}
