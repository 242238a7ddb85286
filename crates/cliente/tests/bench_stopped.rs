//! A load generator that does not run for longer than it waits for a server: what came meanwhile counts as in time.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::{Number, answer};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::CLIENTE;
use testkit::{DEADLINE, Signal, send_signal, wait_until};

/// Long enough for the generator to be stopped before it is over, also on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A generator with one connection, which asks until the duration is over and then for the reply that it has not got.
fn start(listener: &TcpListener) -> Child {
    let target = listener.local_addr().expect("it is bound").to_string();
    let timeout = format!("{}s", TIMEOUT.as_secs());
    let mut command = Command::new(CLIENTE);
    command.args(["--connect-timeout", &timeout, "--reply-timeout", &timeout, "bench", "--target", &target]);
    command.args(["--connections", "1", "--duration", "100ms", "--warmup", "0s", "--json"]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Stops it while it waits: the stop interrupts the wait, which then reports nothing.
fn stop(generator: &Child) {
    wait_until("all threads wait", || are_all_threads(generator, 'S'));
    send_signal(generator, Signal::STOP);
    wait_until("all threads are stopped", || are_all_threads(generator, 'T'));
}

fn are_all_threads(generator: &Child, state: char) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", generator.id())).expect("a child not waited for");
    tasks.map(|task| task.expect("a folder").path().join("stat")).all(|stat| {
        // A thread may have ended meanwhile. The state comes after the name, which is in parentheses.
        let stat = fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(state))
    })
}

/// Lets it run again when all of its deadlines have passed.
fn go_on_after_the_timeout(generator: &Child) {
    let stopped = Instant::now();
    wait_until("the timeout is over", || stopped.elapsed() > TIMEOUT);
    send_signal(generator, Signal::CONT);
}

/// A connection that the generator asks on. The first one that it opens only finds the address.
fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let stream = listener.accept().expect("a connection").0;
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("above zero");
    BufReader::new(stream)
}

/// Waits for a request, and returns the right reply to it; nothing if the generator has given up.
fn reply(connection: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let number = Number::parse(line.strip_suffix('\n')?.as_bytes()).expect("a number");
    Some([answer(&number), b"\n"].concat())
}

fn answer_the_rest(mut connection: BufReader<TcpStream>) {
    while let Some(reply) = reply(&mut connection)
        && connection.get_mut().write_all(&reply).is_ok()
    {}
}

/// Asserts that all has been right, on the one connection.
fn assert_nothing_failed(generator: Child) {
    let output = generator.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!(report["all_right"], true, "{report:#}");
    assert_eq!(report["connections_made"], 1, "{report:#}");
}

#[test]
fn a_reply_that_came_while_it_was_stopped_is_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let generator = start(&listener);
    drop(accept(&listener));
    let mut connection = accept(&listener);
    let reply = reply(&mut connection).expect("a request");
    stop(&generator);
    connection.get_mut().write_all(&reply).expect("the generator is there");
    go_on_after_the_timeout(&generator);
    answer_the_rest(connection);
    assert_nothing_failed(generator);
}

/// Whether a connection to `address` waits for the answer to its SYN.
fn is_connecting_to(address: SocketAddr) -> bool {
    let remote = format!(":{:04X} 02 ", address.port());
    fs::read_to_string("/proc/net/tcp").expect("a kernel with TCP").contains(&remote)
}

#[test]
fn a_connection_that_was_made_while_it_was_stopped_is_in_time() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    // There is room for the connection that finds the address. The kernel drops the SYN of the next one, which is sent
    // again a second later.
    socket.listen(0).expect("it is bound");
    socket.set_read_timeout(Some(DEADLINE)).expect("above zero");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("it is bound");
    let generator = start(&listener);
    wait_until("the generator connects", || is_connecting_to(address));
    stop(&generator);
    drop(accept(&listener));
    let connection = accept(&listener);
    go_on_after_the_timeout(&generator);
    answer_the_rest(connection);
    assert_nothing_failed(generator);
}
