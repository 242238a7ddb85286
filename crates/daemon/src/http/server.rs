//! The server of the HTTP side: accepts clients, and answers one request of each.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::clients::{Clients, EXCHANGE_TIMEOUT, HasAsked};
use super::{compression, hosts, page};
use crate::accept::{AcceptErrors, AfterError, PAUSE};
use crate::listener::{ListenError, Listener};
use crate::phase::Phase;
use crate::settings::{HostNames, MetricsListen};
use crate::spare_files::SpareFiles;
use crate::systemd::descriptors::Descriptors;
use crate::systemd::notifier::Notifier;
use crate::systemd::store;

/// How many clients can be served at the same time when no other files can be opened.
const SPARE_FILES: usize = 4;

/// The page's headers for browsers.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, page::POLICY),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// What the HTTP side shows.
pub struct Site {
    /// The body of `/metrics`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// The body of `/`, in HTML.
    pub page: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether a peer may read it.
    pub admits: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Host names that requests may use.
    pub hosts: Box<dyn Fn() -> HostNames + Send + Sync>,
    /// What `/-/ready` reports.
    pub phase: watch::Receiver<Phase>,
}

/// What a client may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Whether the daemon is healthy and ready. This host may always ask.
    Health,
}

/// Opens the socket of the HTTP side, unless it is turned off.
///
/// # Errors
///
/// As [`store::open`].
pub async fn open(
    descriptors: &mut Descriptors,
    notifier: &mut Notifier,
    settings: MetricsListen,
    is_given: bool,
) -> Result<Option<TcpListener>, ListenError> {
    const SETTING: &str = "metrics-listen";
    let configured = match settings {
        MetricsListen::Off => Vec::new(),
        MetricsListen::At(address) => vec![address],
    };
    let listeners = store::open(descriptors, notifier, "metrics", SETTING, &configured, is_given).await?;
    let Some(Listener { socket, address, inherited, .. }) = listeners.into_iter().next() else {
        return Ok(None);
    };
    tracing::info!(%address, inherited, "metrics listening");
    let listener = TcpListener::from_std(socket);
    listener.map(Some).map_err(|error| ListenError::Use { setting: SETTING, address, error })
}

/// Answers until the process ends, or the socket no longer listens. Then it returns why.
///
/// A few files are kept in reserve from the time of this call: an operator wants to see the metrics of a process that cannot
/// open files.
pub fn serve(listener: TcpListener, site: Arc<Site>) -> impl Future<Output = io::Error> + Send {
    answer(listener, site, Arc::new(SpareFiles::new(SPARE_FILES)))
}

async fn answer(listener: TcpListener, site: Arc<Site>, spare_files: Arc<SpareFiles>) -> io::Error {
    let mut clients = Clients::default();
    let mut errors = AcceptErrors::default();
    loop {
        let (stream, peer) = match accept(&listener, &spare_files).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = error.to_string(), "metrics accept failed");
                match errors.after(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)) {
                    AfterError::Next => {}
                    AfterError::Pause => tokio::time::sleep(PAUSE).await,
                    AfterError::GiveUp => {
                        let problem = format!("metrics-listen does not listen any more: {error}");
                        return io::Error::new(error.kind(), problem);
                    }
                }
                continue;
            }
        };
        errors.reset();
        forget_if_unread(&stream);
        let Ok(local) = stream.local_addr().map(|address| address.ip()) else { continue };
        let access = match peer.ip() {
            peer if (site.admits)(peer) => Access::Full,
            peer if peer.to_canonical().is_loopback() || peer == local => Access::Health,
            _ => {
                tracing::debug!(%peer, "metrics client not allowed");
                continue;
            }
        };
        let has_asked = HasAsked::default();
        let asked = has_asked.clone();
        let exchange = exchange(stream, Arc::clone(&site), access, local, move || asked.set());
        clients.make_room().await;
        let spare_files = Arc::clone(&spare_files);
        clients.add(has_asked, async move {
            exchange.await;
            // The client's file is closed.
            spare_files.refill();
        });
    }
}

/// Waits for a client. Without other files, it gets one of the reserve.
async fn accept(listener: &TcpListener, spare_files: &SpareFiles) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Err(error) if is_out_of_files(&error) && spare_files.release() => {}
            outcome => return outcome,
        }
        // Without a file accept(2) fails even if nobody waits.
        let accepted = listener.accept().now_or_never();
        spare_files.refill();
        if let Some(outcome) = accepted {
            return outcome;
        }
    }
}

/// Has the kernel give up what a client does not read, also after the connection was closed. It would keep it for minutes.
fn forget_if_unread(stream: &TcpStream) {
    let limit = u32::try_from(EXCHANGE_TIMEOUT.as_millis()).expect("seconds");
    // It cannot fail on a TCP socket.
    let _ = sockopt::set_tcp_user_timeout(stream, limit);
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Reads one request from `stream`, which came to the address `local`, calls `has_asked`, and answers.
pub async fn exchange<S>(
    stream: S,
    site: Arc<Site>,
    access: Access,
    local: IpAddr,
    has_asked: impl Fn() + Send,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let service = service_fn(|request| {
        has_asked();
        ready(Ok::<_, Infallible>(respond(&site, access, local, &request)))
    });
    // Hyper's own timeout can fire before it has read what arrived.
    let exchange = http1::Builder::new()
        .header_read_timeout(None)
        // Who sends FIN after a request, as `nc -N` does, still waits for the answer.
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Clients may end their connections as they like: errors are not logged.
    drop(exchange.await);
}

fn respond(site: &Site, access: Access, local: IpAddr, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !hosts::is_for_us(request, local, &(site.hosts)()) {
        let problem =
            "not a name of this host: use localhost or an address, or add the name to metrics-hosts\n";
        return reply(StatusCode::MISDIRECTED_REQUEST, TEXT, problem.to_owned());
    }
    if access == Access::Health && !matches!(request.uri().path(), "/-/healthy" | "/-/ready") {
        let problem = "only /-/healthy and /-/ready: this address is not in metrics-allow\n";
        return reply(StatusCode::FORBIDDEN, TEXT, problem.to_owned());
    }
    let known = matches!(request.uri().path(), "/" | "/metrics" | "/-/healthy" | "/-/ready");
    if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            compression::negotiated(request.headers(), (site.metrics)(), |body| {
                reply(StatusCode::OK, kind, body)
            })
        }
        "/" => {
            let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", (site.page)());
            response
                .headers_mut()
                .extend(PAGE_HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
            response
        }
        "/-/healthy" => reply(StatusCode::OK, TEXT, "healthy\n".to_owned()),
        "/-/ready" => match *site.phase.borrow() {
            Phase::Starting => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "starting\n".to_owned()),
            Phase::Ready => reply(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Phase::Stopping => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned()),
        },
        _ => reply(StatusCode::NOT_FOUND, TEXT, "try /metrics, /-/healthy, /-/ready or /\n".to_owned()),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
