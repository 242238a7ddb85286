//! Against our own server, which runs in this process.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use daemon::listener;
use daemon::notify::{Inherited, Watchdog};
use daemon::settings::start;
use servidor::context::Context;
use servidor::settings::{Own, PROGRAM};
use support::{CLIENTE, wait_for_rounds};
use testkit::{Daemon, Peer, scrape};
use tokio::runtime::Builder;
use tokio::sync::watch;

/// Serves on a free port of `host` until the process ends.
fn serve(host: &str, arguments: &[&str]) -> SocketAddr {
    let listen = format!("{host}:0");
    let arguments =
        ["servidor", "--listen", &listen].into_iter().chain(arguments.iter().copied()).map(Into::into);
    let settings = start::<Own>(&PROGRAM, arguments).expect("settings in order").settings;
    let (sender, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut inherited = Inherited::from_environment().expect("none");
            let addresses = settings.own.listen.as_slice();
            let listeners =
                listener::open(&mut inherited, "servidor", "listen", addresses, true).expect("a free port");
            sender.send(listeners[0].address).expect("the test waits");
            let context = Context::new(&settings);
            let heartbeat = Watchdog::from_environment().heartbeat();
            let (_unchanged, settings) = watch::channel(Arc::new(settings));
            servidor::run(listeners, settings, context, heartbeat).await;
        });
    });
    address.recv().expect("it listens")
}

fn ask(target: SocketAddr, arguments: &[&str]) -> Daemon {
    let target = target.to_string();
    Daemon::start(CLIENTE, &[&["--target", &target], arguments].concat())
}

#[test]
fn rounds_on_fresh_connections_are_right() {
    let target = serve("127.0.0.1", &[]);
    let daemon = ask(target, &["--interval", "5ms", "--log-events-per-second", "1000"]);
    let rounds = wait_for_rounds(&daemon, 100);
    for class in ["large", "even", "odd"] {
        assert!(rounds.iter().any(|line| line["class"] == class), "{class}");
    }
    assert_eq!(daemon.lines_with("round failed").len(), 0);
    let metrics = scrape(daemon.metrics_address());
    let connections = metrics.count("cliente_connections_total", &[("server", &target.to_string())]);
    assert!(connections >= 100, "{connections}");
}

#[test]
fn rounds_on_a_kept_connection_are_right() {
    let target = serve("127.0.0.1", &[]);
    let daemon =
        ask(target, &["--interval", "5ms", "--log-events-per-second", "1000", "--connection", "kept"]);
    wait_for_rounds(&daemon, 100);
    assert_eq!(daemon.lines_with("round failed").len(), 0);
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("cliente_connections_total", &[("server", &target.to_string())]), 1);
}

#[test]
fn a_kept_connection_that_the_server_finds_idle_is_made_anew() {
    let target = serve("127.0.0.1", &["--idle-timeout", "50ms"]);
    let daemon = ask(target, &["--interval", "1s", "--connection", "kept"]);
    let rounds = wait_for_rounds(&daemon, 3);
    assert!(rounds.iter().all(|line| line["connect_us"].is_u64()), "{rounds:?}");
    assert_eq!(daemon.lines_with("round failed").len(), 0);
}

#[test]
fn a_full_server_that_refuses_is_a_server_error() {
    let target = serve("127.0.0.1", &["--max-connections", "1", "--overload", "refuse"]);
    let mut first = Peer::connect(target);
    assert_eq!(first.ask("1\n"), "ÍMPAR\n");
    let failed = ask(target, &["--interval", "1h"]).wait_for("round failed");
    assert_eq!(failed["reason"], "server_error");
    let error = failed["error"].as_str().expect("a text");
    assert!(error.starts_with("the server answered \"ERRO ocupado: "), "{error}");
}

#[test]
fn a_full_server_that_lets_wait_is_a_reply_timeout() {
    let target = serve("127.0.0.1", &["--max-connections", "1"]);
    let mut first = Peer::connect(target);
    assert_eq!(first.ask("1\n"), "ÍMPAR\n");
    let failed = ask(target, &["--interval", "1h", "--reply-timeout", "300ms"]).wait_for("round failed");
    assert_eq!(failed["reason"], "reply_timeout");
}

#[test]
fn ipv6_and_names() {
    let target = serve("[::1]", &[]);
    let completed = ask(target, &["--interval", "1h"]).wait_for("round completed");
    assert_eq!(completed["server"], target.to_string());

    let target = format!("localhost:{}", serve("127.0.0.1", &[]).port());
    let daemon = Daemon::start(CLIENTE, &["--target", &target, "--interval", "1h"]);
    assert_eq!(daemon.wait_for("round completed")["server"], target);
}
