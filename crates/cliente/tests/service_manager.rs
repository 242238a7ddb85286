//! A service manager that does not read what it is told holds nothing up.

mod support;

use support::{CLIENTE, UNDISTURBED, honest, wait_for_rounds};
use testkit::{Daemon, ServiceManager, Signal, request};

#[test]
fn a_service_manager_that_does_not_read_holds_no_round_up() {
    let manager = ServiceManager::new();
    manager.fill();
    let target = honest().to_string();
    let variables = [("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "200000"), UNDISTURBED];
    let mut daemon = Daemon::start_with(CLIENTE, &["--target", &target, "--interval", "20ms"], &variables);
    wait_for_rounds(&daemon, 10);
    assert_eq!(request(daemon.metrics_address(), "GET", "/-/ready").status, 200);
    assert_eq!(manager.next_state(), "READY=1");
    manager.fill();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
