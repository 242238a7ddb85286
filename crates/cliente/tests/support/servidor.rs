//! Our own server, in the test's process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use daemon::listener;
use daemon::notify::{Inherited, Watchdog};
use daemon::settings::start;
use servidor::context::Context;
use servidor::settings::{Own, PROGRAM};
use tokio::runtime::Builder;
use tokio::sync::watch;

/// Serves on a free port of `host` until the process ends.
pub(crate) fn serve(host: &str, arguments: &[&str]) -> (SocketAddr, Arc<Context>) {
    let listen = format!("{host}:0");
    let arguments =
        ["servidor", "--listen", &listen].into_iter().chain(arguments.iter().copied()).map(Into::into);
    let settings = start::<Own>(&PROGRAM, arguments).expect("settings in order").settings;
    let (sender, serving) = channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut inherited = Inherited::from_environment().expect("none");
            let addresses = settings.own.listen.as_slice();
            let listeners =
                listener::open(&mut inherited, "servidor", "listen", addresses, true).expect("a free port");
            let context = Context::new(&settings);
            sender.send((listeners[0].address, Arc::clone(&context))).expect("the test waits");
            let watchdog = Watchdog::from_environment();
            let (_unchanged, settings) = watch::channel(Arc::new(settings));
            servidor::run(listeners, settings, context, &watchdog).expect("room for an event loop").await;
        });
    });
    serving.recv().expect("it listens")
}
