//! Lets connections in: one task for all listeners, and a place for each connection before it is accepted.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use daemon::listener::{BACKLOG, Listener, pause_after};
use daemon::notify::Heartbeat;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::context::Context;
use crate::events::Peer;
use crate::linger::linger;
use crate::metrics::{Reason, Refusal};
use crate::places::Place;
use crate::settings::{Overload, Own, Settings};

/// The accept task.
pub struct Acceptor {
    listeners: Vec<Listener>,
    settings: watch::Receiver<Arc<Settings>>,
    current: Arc<Own>,
    context: Arc<Context>,
    /// The listener that is asked first the next time, so that a busy one does not starve the others.
    next: usize,
}

impl Acceptor {
    /// For these listeners, under settings that may change.
    pub fn new(
        listeners: Vec<Listener>,
        mut settings: watch::Receiver<Arc<Settings>>,
        context: Arc<Context>,
    ) -> Self {
        let current = Arc::new(settings.borrow_and_update().own.clone());
        Self { listeners, settings, current, context, next: 0 }
    }

    /// Accepts until the stop, then sees to the queues. `heartbeat` shows that accepting goes on.
    pub async fn run(mut self, mut heartbeat: Heartbeat) {
        let context = Arc::clone(&self.context);
        let mut stop = pin!(context.stop.begun());
        loop {
            let may_accept = self.current.overload == Overload::Refuse || context.places.any_free();
            tokio::select! {
                biased;
                _ = &mut stop => break,
                Ok(()) = self.settings.changed() => self.adopt_settings(),
                () = heartbeat.beat() => {}
                () = context.places.free(), if !may_accept => {}
                accepted = accept_any(&self.listeners, &mut self.next), if may_accept => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => self.accept_failed(&error).await,
                },
            }
        }
        self.empty_queues();
    }

    fn adopt_settings(&mut self) {
        self.current = Arc::new(self.settings.borrow_and_update().own.clone());
        self.context.places.set_limit(self.current.max_connections.as_usize());
    }

    async fn accept_failed(&self, error: &io::Error) {
        if let Some(pause) = pause_after(error) {
            self.context.metrics.accept_failed();
            self.context.events.accept_failed(error);
            tokio::time::sleep(pause).await;
        }
    }

    /// Serves a connection, or says why not.
    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !self.current.allow.contains(address.ip()) {
            self.refuse(address, Refusal::NotAllowed);
        } else if self.current.overload == Overload::Refuse && !self.context.places.any_free() {
            self.refuse(address, Refusal::Overload);
            self.context.let_linger(tell_busy(stream));
        } else {
            let context = Arc::clone(&self.context);
            let open = Open::begin(context, address, self.context.places.take());
            self.context.tasks.spawn(serve(stream, open, Arc::clone(&self.current)));
        }
    }

    fn refuse(&self, address: SocketAddr, reason: Refusal) {
        self.context.metrics.connection_refused(reason);
        self.context.events.connection_refused(address, reason);
    }

    /// Serves who waits in the queues of own listeners, though it be beyond the limit: their handshake is done, and
    /// closing the listener would reset them. The queues of inherited listeners are the successor's.
    fn empty_queues(&mut self) {
        for listener in std::mem::take(&mut self.listeners).into_iter().filter(|listener| !listener.inherited)
        {
            // The reactor may not know yet of connections that the kernel has: ask the kernel.
            let Ok(socket) = listener.socket.into_std() else { continue };
            for _ in 0..BACKLOG {
                let accepted = socket.accept().and_then(|(stream, peer)| {
                    stream.set_nonblocking(true)?;
                    Ok((TcpStream::from_std(stream)?, peer))
                });
                match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if pause_after(&error).is_none() => {}
                    Err(error) => {
                        self.context.metrics.accept_failed();
                        self.context.events.accept_failed(&error);
                        break;
                    }
                }
            }
        }
    }
}

async fn accept_any(listeners: &[Listener], next: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        for offset in 0..listeners.len() {
            let index = (*next + offset) % listeners.len();
            if let Poll::Ready(accepted) = listeners[index].socket.poll_accept(cx) {
                *next = index + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

async fn tell_busy(mut stream: TcpStream) {
    // The first write to a new connection finds an empty buffer; a peer that is gone already needs no reply.
    let _ = stream.write_all(&[protocol::BUSY, b"\n"].concat()).await;
    let _ = stream.shutdown().await;
    linger(stream, None).await;
}

/// A connection that is being served: counted and logged at its begin, and once at its end, however it ends.
struct Open {
    context: Arc<Context>,
    peer: Peer,
    since: Instant,
    requests: u64,
    reason: Option<Reason>,
    _place: Place,
}

impl Open {
    fn begin(context: Arc<Context>, address: SocketAddr, place: Place) -> Self {
        let peer = Peer { connection: context.number_connection(), address };
        context.metrics.connection_served();
        context.events.connection_established(peer);
        Self { context, peer, since: Instant::now(), requests: 0, reason: None, _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without a reason the task was cut short: by a panic, or by the end of the runtime.
        let cut_short = if std::thread::panicking() { Reason::Panic } else { Reason::Forced };
        let reason = self.reason.unwrap_or(cut_short);
        self.context.metrics.connection_closed(reason);
        self.context.events.connection_closed(self.peer, reason, self.requests, self.since.elapsed());
    }
}

/// Serves `stream` to its FIN. A block rather than an async function, whose arguments would be stored twice.
fn serve(stream: TcpStream, mut open: Open, settings: Arc<Own>) -> impl Future<Output = ()> {
    let mut connection = Connection::new(stream, open.peer, Arc::clone(&open.context), settings);
    async move {
        let reason = connection.serve().await;
        open.reason = Some(reason);
        open.requests = connection.requests();
        let stream = connection.into_stream();
        if matches!(reason, Reason::Client | Reason::Io | Reason::Forced) {
            // Closing sends the FIN; the peer's has come, or it is not waited for.
            drop(stream);
        } else {
            // A failed shutdown means that the peer has gone.
            let _ = SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
            let by = open.context.stop.if_begun().map(|deadlines| deadlines.forced);
            open.context.let_linger(linger(stream, by));
        }
        // The place is free at the FIN, not when the peer has taken note.
        drop(open);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_connection_alone_and_is_counted_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let settings = daemon::settings::start::<Own>(&crate::settings::PROGRAM, ["servidor".into()])
            .expect("the defaults are in order")
            .settings;
        let context = metrics::with_local_recorder(&recorder, || Context::new(&settings));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let open = Open::begin(Arc::clone(&context), address, context.places.take());
        assert_eq!(context.places.active(), 1);

        let task = tokio::spawn(async move {
            let _open = open;
            panic!("a fault of this program");
        });

        assert!(task.await.is_err_and(|error| error.is_panic()));
        assert_eq!(context.places.active(), 0);
        let metrics = recorder.handle().render();
        let closed = |reason: &str| format!("servidor_connections_closed_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&format!("{} 1\n", closed("panic"))), "{metrics}");
        assert!(metrics.contains(&format!("{} 0\n", closed("forced"))), "{metrics}");
    }
}
