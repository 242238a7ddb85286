//! Whole rounds over TCP.

use std::future::Future;
use std::net::SocketAddr;

use socket2::SockRef;
use socket2::{Domain, Socket, Type};
use testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::join;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::*;
use super::{FRESH, KEPT, number};
use crate::round::reason::Reason;

/// A server, and a client of it.
async fn pair() -> (TcpListener, Session) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let session = session_with(listener.local_addr().expect("it is bound"));
    (listener, session)
}

fn session_with(address: SocketAddr) -> Session {
    let target = address.to_string().parse().expect("an address is a target");
    Session::new(target, StallMeter::default(), Resolver::of_this_host())
}

/// The next connection, once it has sent a line.
pub(super) async fn asked(listener: &TcpListener) -> TcpStream {
    let accepted = timeout(DEADLINE, listener.accept()).await.expect("a client comes");
    let (stream, _) = accepted.expect("a connection");
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut String::new()).await.expect("a request");
    stream.into_inner()
}

/// A round about 42, while `serve` does what it does.
pub(super) async fn round(
    session: &mut Session,
    options: Options,
    serve: impl Future,
) -> Result<Duration, Reason> {
    let (outcome, _) = join!(session.round(number("42"), options), serve);
    outcome.result.map_err(|failure| failure.reason())
}

pub(super) async fn say(stream: &mut TcpStream, reply: &[u8]) {
    stream.write_all(reply).await.expect("the client is there");
}

/// What is closed like this is reset at once.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
}

/// Waits until something is there to be read on the kept connection, be it its end.
async fn wait_for_input(session: &Session) {
    session.kept.as_ref().expect("a kept connection").stream.readable().await.expect("a live socket");
}

#[tokio::test]
async fn a_fresh_connection_ends_by_our_fin_with_nothing_lost() {
    let (listener, mut session) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        assert_eq!(stream.read(&mut [0]).await.expect("FIN, not a reset"), 0);
    };
    let (outcome, ()) = join!(session.round(number("42"), FRESH), serve);
    let connect = outcome.connect.expect("it connected");
    let round_trip = outcome.result.map_err(|failure| failure.to_string()).expect("a right reply");
    assert!(connect + round_trip <= outcome.elapsed);
    assert!(session.kept.is_none());
}

#[tokio::test]
async fn a_second_reply_in_a_later_segment_is_wrong() {
    let (listener, mut session) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        assert_eq!(stream.read(&mut [0]).await.expect("FIN: the first reply was read"), 0);
        say(&mut stream, b"PAR\n").await;
        stream
    };
    assert_eq!(round(&mut session, FRESH, serve).await, Err(Reason::WrongReply));
}

#[tokio::test]
async fn a_server_without_a_listener_refuses() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let mut session = session_with(address);
    let outcome = session.round(number("42"), FRESH).await;
    assert_eq!(outcome.connect, None);
    let failure = outcome.result.expect_err("nobody listens");
    assert_eq!(failure.reason(), Reason::Refused);
    assert_eq!(failure.to_string(), format!("no connection to {address}: Connection refused (os error 111)"));
}

#[tokio::test]
async fn no_way_leads_to_a_broadcast_address() {
    let mut session = session_with(([255, 255, 255, 255], 8888).into());
    assert_eq!(round(&mut session, FRESH, async {}).await, Err(Reason::Unreachable));
}

#[tokio::test]
async fn a_full_queue_lets_nobody_connect() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    listener.listen(0).expect("a bound socket");
    let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let patience = Duration::from_millis(500);
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
        queued.push(stream.expect("a place in the queue"));
    }
    let options = Options { connect_timeout: patience, ..FRESH };
    assert_eq!(round(&mut session_with(address), options, async {}).await, Err(Reason::ConnectTimeout));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (listener, mut session) = pair().await;
    let options = Options { reply_timeout: Duration::from_millis(200), ..FRESH };
    assert_eq!(round(&mut session, options, asked(&listener)).await, Err(Reason::ReplyTimeout));
}

#[tokio::test]
async fn fin_and_reset_in_place_of_a_reply() {
    let (listener, mut session) = pair().await;
    let closes = async { drop(asked(&listener).await) };
    assert_eq!(round(&mut session, FRESH, closes).await, Err(Reason::Closed));
    let resets = async { reset(&asked(&listener).await) };
    assert_eq!(round(&mut session, FRESH, resets).await, Err(Reason::Reset));
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let (listener, mut session) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        stream
    };
    let (first, mut stream) = join!(session.round(number("42"), KEPT), serve);
    assert!(first.connect.is_some() && first.result.is_ok());
    say(&mut stream, b"PA").await;
    // What is there early is surplus, even if it could become the next reply.
    wait_for_input(&session).await;
    assert_eq!(round(&mut session, KEPT, async {}).await, Err(Reason::WrongReply));

    let serve = async {
        let mut stream = asked(&listener).await;
        for _ in 0..3 {
            say(&mut stream, b"PAR\n").await;
            let mut stream = BufReader::new(&mut stream);
            stream.read_line(&mut String::new()).await.expect("the next request or the end");
        }
    };
    let ask = async {
        for used_again in [false, true, true] {
            let outcome = session.round(number("42"), KEPT).await;
            assert!(outcome.result.is_ok());
            assert_eq!(outcome.connect.is_none(), used_again);
        }
        session.kept = None;
    };
    join!(ask, serve);
}

#[tokio::test]
async fn a_kept_connection_that_ended_is_made_anew_without_a_failure() {
    let (listener, mut session) = pair().await;
    for resets in [false, true, false] {
        let serve = async {
            let mut stream = asked(&listener).await;
            say(&mut stream, b"PAR\n").await;
            stream
        };
        let (outcome, stream) = join!(session.round(number("42"), KEPT), serve);
        assert!(outcome.result.is_ok());
        assert!(outcome.connect.is_some(), "the connection before has ended");
        if resets {
            reset(&stream);
        }
        drop(stream);
        wait_for_input(&session).await;
    }
}

#[tokio::test]
async fn a_right_reply_that_ends_a_kept_connection_is_right() {
    let (listener, mut session) = pair().await;
    for _ in 0..2 {
        let serve = async { say(&mut asked(&listener).await, b"PAR").await };
        let (outcome, ()) = join!(session.round(number("42"), KEPT), serve);
        assert!(outcome.connect.is_some() && outcome.result.is_ok());
        assert!(session.kept.is_none());
    }
}

#[tokio::test]
async fn a_kept_connection_is_given_up_when_fresh_ones_are_wanted() {
    let (listener, mut session) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        stream
    };
    let (_, mut first) = join!(session.round(number("42"), KEPT), serve);
    let serve = async { say(&mut asked(&listener).await, b"PAR\n").await };
    assert!(round(&mut session, FRESH, serve).await.is_ok());
    assert_eq!(first.read(&mut [0]).await.expect("FIN"), 0);
}
