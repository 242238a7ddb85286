//! Inherited sockets, and sockets that the service manager keeps from one start to the next.

mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use common::inheriting;
use serde_json::Value;
use testkit::{Daemon, Peer, ServiceManager, Signal};

const NAMED: &str = "LISTEN_FDS=1 LISTEN_FDNAMES=servidor";

/// Starts `servidor` under a service manager that has a store, and passes it `socket`.
fn start_stored(manager: &ServiceManager, socket: TcpListener, variables: &str, listen: &str) -> Daemon {
    let variables = format!("{variables} NOTIFY_SOCKET={} FDSTORE=8", manager.address());
    let arguments = ["--listen", listen, "--metrics-listen", "off"];
    Daemon::spawn(&mut inheriting(socket.into(), &variables, &arguments))
}

/// A socket as the daemon stores it.
fn stored_socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("a socket");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Starts `servidor`, which must fail; returns its exit status and its log.
fn fail(socket: OwnedFd, variables: &str, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut daemon = Daemon::spawn(&mut inheriting(socket, variables, arguments));
    (daemon.wait().code(), daemon.lines())
}

#[test]
fn a_bound_socket_is_stored_and_used_at_the_next_start() {
    let manager = ServiceManager::new();
    let variables = [("NOTIFY_SOCKET", manager.address()), ("FDSTORE", "8")];
    let mut daemon = common::start_with(&[], &variables);
    assert_eq!(daemon.wait_for("listening")["inherited"], false);
    assert_eq!(manager.next_state(), "FDSTORE=1\nFDNAME=servidor");
    assert_eq!(manager.next_state(), "FDSTORE=1\nFDNAME=metrics");
    assert_eq!(manager.next_state(), "READY=1");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));

    let (socket, address) = stored_socket();
    let manager = ServiceManager::new();
    let daemon = start_stored(&manager, socket, NAMED, &address.to_string());
    assert_eq!(daemon.wait_for("listening")["inherited"], true);
    assert_eq!(daemon.address(), address);
    assert_eq!(manager.next_state(), "READY=1", "it is in the store already");
}

#[test]
fn a_stored_socket_that_the_settings_no_longer_name_is_closed() {
    let (socket, address) = stored_socket();
    let manager = ServiceManager::new();
    let daemon = start_stored(&manager, socket, NAMED, "127.0.0.1:0");
    assert_eq!(manager.next_state(), "FDSTOREREMOVE=1\nFDNAME=servidor");
    assert_eq!(manager.next_state(), "FDSTORE=1\nFDNAME=servidor");
    assert_eq!(manager.next_state(), "READY=1");
    let closed = daemon.wait_for("stored socket closed");
    assert_eq!((&closed["setting"], &closed["address"]), (&"listen".into(), &address.to_string().into()));
    assert_ne!(daemon.address(), address);
    assert_eq!(daemon.wait_for("listening")["inherited"], false);
    TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn an_address_that_a_stored_socket_occupies_is_bound_once_that_is_closed() {
    let (socket, address) = stored_socket();
    let kept = socket.try_clone().expect("a socket can be cloned");
    let manager = ServiceManager::new();
    let wildcard = format!("0.0.0.0:{}", address.port());
    let daemon = start_stored(&manager, socket, NAMED, &wildcard);
    assert_eq!(manager.next_state(), "FDSTOREREMOVE=1\nFDNAME=servidor");
    drop(kept);
    assert_eq!(daemon.address().to_string(), wildcard);
    assert_eq!(Peer::connect(address).ask("2\n"), "PAR\n");
}

#[test]
fn sockets_of_the_operator_overrule_the_settings_and_are_not_stored() {
    for variables in [NAMED, "LISTEN_FDS=1", "LISTEN_FDS=1 LISTEN_FDNAMES=my.socket"] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        let manager = ServiceManager::new();
        let daemon = start_stored(&manager, socket, variables, "127.0.0.1:0");
        assert_eq!(manager.next_state(), "READY=1");
        assert_eq!(daemon.address(), address);
        let warning = daemon.wait_for("setting is overruled by inherited sockets");
        assert_eq!(warning["setting"], "listen");
        assert_eq!(Peer::connect(address).ask("2\n"), "PAR\n");
    }
}

#[test]
fn an_unknown_name_is_logged_before_anything_is_bound() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (status, lines) = fail(socket.into(), "LISTEN_FDS=1 LISTEN_FDNAMES=numbers", &["--listen", &address]);
    assert_eq!(status, Some(69));
    assert_eq!(lines[0]["message"], "inherited socket of an unknown name");
    assert_eq!(lines[0]["name"], "numbers");
}

#[test]
fn a_descriptor_that_was_announced_but_not_passed_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (status, lines) = fail(socket.into(), "LISTEN_FDS=3", &["--listen", "127.0.0.1:0"]);
    assert_eq!(status, Some(1));
    let error = lines[0]["error"].as_str().expect("a reason");
    assert!(error.starts_with("LISTEN_FDS announces what was not passed: "), "{error}");
}

/// Found by fuzzing: a wrapper that does not use `exec` is the process that the socket is for, and its child inherits the variables.
#[test]
fn names_of_descriptors_for_another_process_are_ignored() {
    let variables = [("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "servidor")];
    let daemon = common::start_with(&[], &variables);
    assert_eq!(daemon.wait_for("listening")["inherited"], false);
}

#[test]
fn more_names_than_descriptors_are_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let variables = "LISTEN_FDS=1 LISTEN_FDNAMES=servidor:metrics";
    let (status, lines) = fail(socket.into(), variables, &["--listen", "127.0.0.1:0"]);
    assert_eq!(status, Some(1));
    assert_eq!(lines[0]["error"], "LISTEN_FDNAMES has 2 names for 1 descriptors");
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (status, lines) = fail(socket.into(), NAMED, &["--listen", "127.0.0.1:0"]);
    assert_eq!(status, Some(1));
    assert_eq!(lines[0]["error"], "inherited descriptor 3 (`servidor`) is not a listening TCP socket");
}

#[test]
fn without_a_store_nothing_is_stored_and_a_stop_serves_the_queue() {
    let manager = ServiceManager::new();
    let arguments = ["--max-connections", "1"];
    let mut daemon = common::start_with(&arguments, &[("NOTIFY_SOCKET", manager.address())]);
    assert_eq!(manager.next_state(), "READY=1");
    let mut first = Peer::connect(daemon.address());
    assert_eq!(first.ask("2\n"), "PAR\n");
    let mut queued = Peer::connect(daemon.address());
    queued.send("7\n");
    daemon.signal(Signal::TERM);
    assert_eq!(queued.rest(), "ÍMPAR\n");
    assert_eq!(daemon.wait().code(), Some(0));
}
