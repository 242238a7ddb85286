//! The settings of `servidor`.

use std::net::SocketAddr;

use daemon::open_files::allow_open_files;
use daemon::settings::{ClaimError, Count, Delay, List, MetricsListen, Networks, Period, Program};

/// All settings of `servidor`.
pub type Settings = daemon::settings::Settings<Own>;

/// An epoll instance and a waker.
const FILES_OF_AN_EVENT_LOOP: u64 = 2;
/// All other open files except connections with a permit: listeners, the HTTP side, the log, held and lingering sockets.
const OTHER_FILES: u64 = 256;

/// The command line of `servidor`.
pub const PROGRAM: Program = Program {
    name: "servidor",
    about: "Answers each integer it is sent: itself if it has more than ten digits, else PAR or ÍMPAR.",
    extra: |command| command,
    defaults: &[],
    implied: |_| Vec::new(),
};

daemon::settings! {
    /// The settings that only `servidor` has.
    pub struct Own {
        /// Addresses to listen on. An IPv6 address takes no IPv4 peers.
        listen: List<SocketAddr> = "127.0.0.1:8888", Restart;
        /// Networks whose peers are served; others are closed at once. A reload closes open connections too, once what
        /// had arrived is answered. An IPv4-mapped peer counts as its IPv4 address.
        allow: Networks = "127.0.0.0/8, ::1/128", Live;
        /// How many connections are served at the same time.
        max_connections: Count<1, 1_000_000> = "5", Live;
        /// What happens to connections past the limit: with `wait` they stay connected, and are served as places come
        /// free; with `refuse` they are told `ERRO ocupado`, and closed.
        overload: Overload = "wait", Live;
        /// How long a first request without a line end is waited upon before it is taken for whole, as the original
        /// program's are. On paths with loss, raise it.
        unterminated_wait: Period = "300ms", Live;
        /// How long a connection may be open with no request in progress.
        idle_timeout: Period = "60s", Live;
        /// How long a line may take from its first byte to its end.
        line_timeout: Period = "5s", Live;
        /// How long a peer may take none of its replies. While it takes them, at 1 KiB/s or more, it may go on.
        write_timeout: Period = "5s", Live;
        /// How long the server goes on serving after it was asked to stop, while `/-/ready` says that it is not ready: so
        /// that whoever sends it clients can send them elsewhere. Then the connections drain.
        stop_delay: Delay = "0s", Live;
        /// How long a stop waits for connections. Keep it below the clients' patience.
        drain_timeout: Period = "2s", Live;
    }
    contradictions(settings, common) {
        let mut contradictions = Vec::new();
        if settings.unterminated_wait > settings.line_timeout {
            contradictions.push(format!(
                "unterminated-wait = {} and line-timeout = {}: expected the wait to be no longer than the timeout, \
                 which would always come first",
                settings.unterminated_wait, settings.line_timeout
            ));
        }
        if let MetricsListen::At(address) = common.metrics_listen
            && address.port() != 0
            && settings.listen.as_slice().contains(&address)
        {
            contradictions.push(format!("listen and metrics-listen = {address}: expected two different addresses"));
        }
        contradictions
    }
    claim(settings, common) {
        let connections = settings.max_connections.get();
        let event_loops = common.worker_threads.get() as u64;
        allow_open_files(u64::from(connections) + event_loops * FILES_OF_AN_EVENT_LOOP + OTHER_FILES)
            .map_err(|error| ClaimError { setting: "max-connections", value: connections.to_string(), error })
    }
}

/// What happens to connections past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// They wait for a permit.
    Wait,
    /// They are sent `ERRO ocupado` and closed.
    Refuse,
}

daemon::choice!(Overload, "wait or refuse", Wait = "wait", Refuse = "refuse");
