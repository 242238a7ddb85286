//! Models of whole event loops.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::settings::{Value, start};
use daemon::sync::{explore_most, thread};

use super::kernel::{Listener, Modelled, Socket};
use crate::context::Context;
use crate::event_loop::Listening;
use crate::kernel::Kernel as _;
use crate::metrics::CloseReason;
use crate::server::Server;
use crate::settings::{Own, PROGRAM, Settings};

/// A server under the operator's hands.
struct Running {
    server: Server<Modelled>,
    context: Arc<Context>,
    threads: Vec<thread::JoinHandle<()>>,
}

fn settings(event_loops: usize, max_connections: usize) -> Settings {
    // The same in every run, and slow to make.
    static DEFAULTS: OnceLock<Settings> = OnceLock::new();
    let defaults = || start::<Own>(&PROGRAM, ["servidor".into()]).expect("the defaults are right").settings;
    let mut settings = DEFAULTS.get_or_init(defaults).clone();
    settings.common.worker_threads = value(&event_loops.to_string());
    settings.own.max_connections = value(&max_connections.to_string());
    settings.own.allow = value("192.0.2.0/24");
    settings
}

fn value<T: Value>(text: &str) -> T {
    T::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

impl Running {
    /// A server with these peers in its queue.
    fn start(settings: &Settings, peers: &[&Socket]) -> Self {
        Self::start_with(Duration::ZERO, settings, peers)
    }

    /// The same, where waits end that are not longer than this.
    fn start_with(patience: Duration, settings: &Settings, peers: &[&Socket]) -> Self {
        let context = Context::new(settings);
        let socket = Listener::default();
        peers.iter().for_each(|peer| socket.queue(peer));
        let listening = Listening { socket, address: ([127, 0, 0, 1], 8888).into(), outlives: false };
        let kernels = (0..settings.common.worker_threads.get()).map(|_| Modelled::new(patience)).collect();
        let (server, event_loops) = Server::assemble(kernels, vec![listening], settings, &context);
        let threads = event_loops.into_iter().map(|mut event_loop| {
            thread::spawn(move || while event_loop.turn(None).expect("this kernel does not fail") {})
        });
        let threads = threads.collect();
        Self { server, context, threads }
    }

    /// Stops it, and waits for its end. These peers were served.
    fn stop(self, served: &[&Socket]) {
        let now = Modelled::default().now();
        self.server.stop(now, Duration::from_secs(5));
        for thread in self.threads {
            thread.join().expect("the event loop ends");
        }
        for socket in served {
            let peer = socket.peer();
            let replies = if peer.is_silent { "" } else { "PAR\n" };
            assert_eq!((String::from_utf8_lossy(&peer.replies), peer.closed), (replies.into(), 1));
        }
        let Context { metrics, limit, .. } = &*self.context;
        let closed = CloseReason::ALL.map(|reason| metrics.closed(reason));
        let count = served.len() as u64;
        assert_eq!((metrics.connections(), closed.iter().sum(), limit.active()), (count, count, 0));
        let bugs = metrics.closed(CloseReason::Forced) + metrics.closed(CloseReason::Panic);
        assert_eq!(bugs, 0, "a connection was dropped, or an assertion failed in it");
    }
}

#[test]
fn a_connection_that_waits_gets_the_permit_that_another_event_loop_releases() {
    explore_most(2, || {
        let (stays, leaves) = (Socket::asking("2\n", false), Socket::asking("4\n", true));
        let waits = Socket::asking("6\n", true);
        let was_served = waits.end();
        let running = Running::start(&settings(2, 2), &[&stays, &leaves, &waits]);
        was_served.wait();
        running.stop(&[&stays, &leaves, &waits]);
    });
}

#[test]
fn each_connection_is_served_once_whenever_the_stop_comes() {
    explore_most(3, || {
        // The stop gives the first one a second for its request, so the other one goes to the other event loop.
        let (silent, asks) = (Socket::asking("", false), Socket::asking("4\n", false));
        let peers = [&silent, &asks];
        Running::start_with(Duration::from_secs(1), &settings(2, 2), &peers).stop(&peers);
    });
}

#[test]
fn a_higher_limit_admits_a_connection_that_waits() {
    explore_most(2, || {
        let (stays, waits) = (Socket::asking("2\n", false), Socket::asking("4\n", true));
        let was_served = waits.end();
        let running = Running::start(&settings(2, 1), &[&stays, &waits]);
        running.server.apply(&Arc::new(settings(2, 2).own));
        was_served.wait();
        running.stop(&[&stays, &waits]);
    });
}

#[test]
fn a_reload_reaches_a_connection_on_its_way_to_another_event_loop() {
    explore_most(2, || {
        let peers = [(); 2].map(|()| Socket::asking("", false));
        let ends = peers.each_ref().map(Socket::end);
        let running = Running::start(&settings(2, 2), &peers.each_ref());
        let mut changed = settings(2, 2).own;
        changed.allow = value("127.0.0.0/8");
        running.server.apply(&Arc::new(changed));
        // Idle connections end for this reason only.
        ends.iter().for_each(|end| end.wait());
        running.server.stop(Modelled::default().now(), Duration::from_secs(5));
        for thread in running.threads {
            thread.join().expect("the event loop ends");
        }
        let metrics = &running.context.metrics;
        assert_eq!(metrics.connections(), metrics.closed(CloseReason::NotAllowed));
    });
}
