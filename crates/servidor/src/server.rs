//! All event loops, and their threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use daemon::listener::Listener;
use daemon::supervisor::TaskError;
use daemon::systemd::watchdog::Watchdog;
use rustix::net::sockopt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::context::Context;
use crate::drain::Drain;
use crate::environment::Environment;
use crate::event_loop::{EventLoop, Handle, Listening, Message, inbox};
use crate::kernel::Kernel;
use crate::kernel::linux::Linux;
use crate::settings::{Own, Settings};

/// The requested send buffer of a connection. The kernel doubles it for its own overhead. It limits how much memory unread
/// replies can use: see SECURITY.md.
const SEND_BUFFER: usize = 8 * 1024;
/// The requested receive buffer: how much a peer can send while nothing is read from it.
const RECEIVE_BUFFER: usize = 12 * 1024;

/// Why the server cannot start, or has failed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The options of a listener's connections cannot be set.
    #[error("listen = {address}: the options of the socket cannot be set")]
    Options {
        /// Where it listens.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The files or threads of the event loops cannot be created.
    #[error("worker-threads = {threads}")]
    EventLoops {
        /// How many there should be.
        threads: usize,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The kernel does not let an event loop wait or accept any more.
    #[error("an event loop failed")]
    Failed(#[source] io::Error),
    /// A bug of this program.
    #[error("an event loop panicked")]
    Panicked,
    /// A bug of this program.
    #[error("an event loop ended by itself")]
    Ended,
    /// Another task of the daemon has ended or panicked.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Sends messages to all event loops.
pub(crate) struct Server<K: Kernel> {
    handles: Vec<Handle<K>>,
}

impl<K: Kernel> Server<K> {
    /// An event loop for each kernel. The first one accepts from `listeners`.
    pub(crate) fn assemble(
        kernels: Vec<K>,
        listeners: Vec<Listening<K::Listener>>,
        settings: &Settings,
        context: &Arc<Context>,
    ) -> (Self, Vec<EventLoop<K>>) {
        let settings = Arc::new(settings.own.clone());
        let (handles, inboxes): (Vec<_>, Vec<_>) =
            kernels.iter().map(|kernel| inbox::<K>(kernel.waker())).unzip();
        let new = |(index, (kernel, inbox)): (usize, (K, _))| {
            let mut env = Environment::new(kernel, Arc::clone(&settings), Arc::clone(context), index);
            env.acceptor = (index > 0).then(|| handles[0].waker());
            EventLoop::new(env, inbox, handles.len())
        };
        let mut event_loops: Vec<_> = kernels.into_iter().zip(inboxes).enumerate().map(new).collect();
        event_loops[0].accept(listeners, handles[1..].to_vec());
        (Self { handles }, event_loops)
    }

    /// Applies settings, also to open connections.
    pub(crate) fn apply(&self, settings: &Arc<Own>) {
        for handle in &self.handles {
            handle.send(Message::Settings(Arc::clone(settings)));
        }
    }

    /// Begins the stop.
    pub(crate) fn stop(&self, now: Instant, drain_timeout: Duration) {
        for handle in &self.handles {
            handle.send(Message::Stop(Drain::new(now, drain_timeout)));
        }
    }
}

/// A running server.
pub struct Serving {
    server: Server<Linux>,
    /// How each event loop ended.
    ended: UnboundedReceiver<Result<(), ServerError>>,
}

impl Serving {
    /// Starts one thread with an event loop for each of `worker-threads`.
    ///
    /// # Errors
    ///
    /// If the files or threads of the event loops cannot be created.
    pub fn start(
        listeners: Vec<Listener>,
        settings: &Settings,
        context: &Arc<Context>,
        watchdog: &Watchdog,
    ) -> Result<Self, ServerError> {
        let threads = settings.common.worker_threads.get();
        let addresses: Vec<_> =
            listeners.iter().map(|listener| (listener.address, listener.inherited)).collect();
        let listeners = listeners.into_iter().map(prepared).collect::<Result<Vec<_>, _>>()?;
        let (report, ended) = unbounded_channel();
        let start = || -> io::Result<Server<Linux>> {
            let kernels = (0..threads).map(|_| Linux::new()).collect::<io::Result<Vec<_>>>()?;
            let (server, event_loops) = Server::assemble(kernels, listeners, settings, context);
            for event_loop in event_loops {
                let heartbeat = watchdog.heartbeat();
                start_thread(move || event_loop.run(&heartbeat), report.clone())?;
            }
            Ok(server)
        };
        let server = start().map_err(|error| ServerError::EventLoops { threads, error })?;
        for (address, inherited) in addresses {
            let max_connections = context.limit.limit();
            tracing::info!(%address, max_connections, inherited, "listening");
        }
        Ok(Self { server, ended })
    }

    /// Waits for `stop`. Meanwhile, applies settings when they change, also to open connections.
    ///
    /// # Errors
    ///
    /// If an event loop ends or `stop` fails.
    pub async fn until_stop(
        &mut self,
        stop: impl Future<Output = Result<(), TaskError>>,
        mut settings: watch::Receiver<Arc<Settings>>,
    ) -> Result<(), ServerError> {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                outcome = &mut stop => return Ok(outcome?),
                Some(outcome) = self.ended.recv() => {
                    return outcome.and(Err(ServerError::Ended));
                }
                Ok(()) = settings.changed() => {
                    let own = Arc::new(settings.borrow_and_update().own.clone());
                    self.server.apply(&own);
                }
            }
        }
    }

    /// Begins the stop. Connections have `drain_timeout` to end.
    pub fn stop(&self, drain_timeout: Duration) {
        self.server.stop(Instant::now(), drain_timeout);
    }

    /// Waits until all event loops have ended.
    ///
    /// # Errors
    ///
    /// If one of them failed.
    pub async fn ended(&mut self) -> Result<(), ServerError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.ended.recv().await {
            outcome = outcome.and(ended);
        }
        outcome
    }

    /// What a run comes to that ended with `stop`, and its event loops with `drained`. When the event loop that accepts fails, the
    /// others end too, and may be the first to report it.
    ///
    /// # Errors
    ///
    /// The cause of the failure, if one of the two failed.
    pub fn outcome(
        stop: Result<(), ServerError>,
        drained: Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        match (stop, drained) {
            (Err(ServerError::Ended), Err(cause)) => Err(cause),
            (stop, drained) => stop.and(drained),
        }
    }
}

/// Accepted sockets inherit the options of their listener, also of one that was passed in by another process.
fn prepared(
    Listener { socket, address, outlives, .. }: Listener,
) -> Result<Listening<TcpListener>, ServerError> {
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)
        .and_then(|()| sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER))
        // A reply must not wait until the peer has acknowledged the one before.
        .and_then(|()| sockopt::set_tcp_nodelay(&socket, true))
        .map_err(|error| ServerError::Options { address, error: error.into() })?;
    Ok(Listening { socket, address, outlives })
}

/// Runs an event loop on its own thread, which reports how it ended.
fn start_thread(
    event_loop: impl FnOnce() -> io::Result<()> + Send + 'static,
    report: UnboundedSender<Result<(), ServerError>>,
) -> io::Result<()> {
    thread::Builder::new().name("event loop".to_owned()).spawn(move || {
        let outcome = match catch_unwind(AssertUnwindSafe(event_loop)) {
            Ok(outcome) => outcome.map_err(ServerError::Failed),
            Err(_) => Err(ServerError::Panicked),
        };
        // The receiver is gone once the daemon has ended.
        let _ = report.send(outcome);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// A connection to a listener that another process has made, as the server accepts it, and the peer's side of it.
    fn accepted() -> (TcpStream, TcpStream) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let listener = prepared(Listener { socket, address, inherited: true, outlives: true });
        let Listening { socket, .. } = listener.expect("a TCP socket has these options");
        let peer = TcpStream::connect(address).expect("it listens");
        (socket.accept().expect("a connection waits").0, peer)
    }

    #[test]
    fn what_the_kernel_holds_for_a_connection_is_bounded() {
        let (socket, _peer) = accepted();
        // The kernel doubles what it is asked for.
        assert_eq!(sockopt::socket_send_buffer_size(&socket), Ok(16 * 1024));
        assert_eq!(sockopt::socket_recv_buffer_size(&socket), Ok(24 * 1024));
    }

    #[test]
    fn a_reply_does_not_wait_for_the_acknowledgement_of_the_one_before() {
        let (socket, _peer) = accepted();
        assert_eq!(sockopt::tcp_nodelay(&socket), Ok(true));
    }

    #[tokio::test]
    async fn a_panic_of_an_event_loop_is_reported_as_well_as_its_end() {
        for panics in [true, false] {
            let (report, mut ended) = unbounded_channel();
            let event_loop = move || {
                assert!(!panics, "a bug of this program");
                Ok(())
            };
            start_thread(event_loop, report).expect("a thread");
            let outcome = ended.recv().await.expect("it reports its end");
            assert_eq!(outcome.is_err(), panics);
            assert!(ended.recv().await.is_none(), "nobody else reports");
        }
    }
}
