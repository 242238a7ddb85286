//! A service manager that does not read its messages delays nothing.

mod common;

use common::start_with;
use testkit::{Peer, ServiceManager, Signal, request, wait_until};

#[test]
fn a_service_manager_that_does_not_read_delays_nothing() {
    for manager in [ServiceManager::new(), ServiceManager::at_abstract_address()] {
        manager.fill();
        let variables = [("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "200000")];
        let mut daemon = start_with(&[], &variables);
        let metrics = daemon.metrics_address();
        wait_until("it is ready", || request(metrics, "GET", "/-/ready").status == 200);
        assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
        daemon.signal(Signal::HUP);
        daemon.wait_for("reloaded");

        assert_eq!(manager.next_state(), "READY=1");
        let reloading = manager.next_state();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(manager.next_state(), "READY=1");
        wait_until("its pings arrive again", || manager.next_message() == "WATCHDOG=1");
        wait_until("its status arrives again", || manager.next_message().starts_with("STATUS=0 of 5"));

        manager.fill();
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code(), Some(0));
    }
}

#[test]
fn a_stop_is_announced_while_connections_drain() {
    let manager = ServiceManager::new();
    let arguments = ["--drain-timeout", "60s", "--write-timeout", "60s"];
    let daemon = start_with(&arguments, &[("NOTIFY_SOCKET", manager.address())]);
    assert_eq!(manager.next_state(), "READY=1");
    let _clogged = Peer::clogged(daemon.address());
    manager.fill();
    daemon.signal(Signal::TERM);
    daemon.wait_for("draining");
    assert_eq!(manager.next_state(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=61000000");
}

#[test]
fn a_daemon_that_has_nothing_to_do_still_shows_that_it_runs() {
    let manager = ServiceManager::new();
    let variables = [("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "200000")];
    let _daemon = start_with(&["--worker-threads", "2"], &variables);
    let mut pings = 0;
    // The first check takes every thread for alive.
    while pings < 5 {
        pings += usize::from(manager.next_message() == "WATCHDOG=1");
    }
}
