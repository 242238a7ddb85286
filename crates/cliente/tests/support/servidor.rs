//! Our own server, in the test's process.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::listener;
use daemon::settings::start;
use daemon::systemd::watchdog::Watchdog;
use servidor::settings::{Own, PROGRAM};
use servidor::{Context, Serving};

/// Serves on a free port of `host` until the process ends.
pub(crate) fn serve(host: &str, arguments: &[&str]) -> (SocketAddr, Arc<Context>) {
    let listen = format!("{host}:0");
    let arguments =
        ["servidor", "--listen", &listen].into_iter().chain(arguments.iter().copied()).map(Into::into);
    let settings = start::<Own>(&PROGRAM, arguments).expect("settings in order").settings;
    let addresses = settings.own.listen.as_slice();
    let listeners = listener::open_own("listen", addresses).expect("a free port");
    let (address, context) = (listeners[0].address, Context::new(&settings));
    let watchdog = Watchdog::from_environment();
    Serving::start(listeners, &settings, &context, &watchdog).expect("room for an event loop");
    (address, context)
}
