//! Whole rounds over TCP.

use std::future::Future;

use socket2::{Domain, Socket, Type};
use testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::join;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::super::*;
use super::number;
use crate::failure::Reason;

const FRESH: Terms = Terms { connect_timeout: DEADLINE, reply_timeout: DEADLINE, keep: false };
const KEPT: Terms = Terms { keep: true, ..FRESH };

/// A server, and a client of it.
async fn pair() -> (TcpListener, Link) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let link = link_to(listener.local_addr().expect("it is bound"));
    (listener, link)
}

fn link_to(address: SocketAddr) -> Link {
    Link::new(address.to_string().parse().expect("an address is a target"))
}

/// The next connection, once it has sent a line.
async fn asked(listener: &TcpListener) -> TcpStream {
    let accepted = timeout(DEADLINE, listener.accept()).await.expect("a client comes");
    let (stream, _) = accepted.expect("a connection");
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut String::new()).await.expect("a request");
    stream.into_inner()
}

/// A round about 42, while `serve` does what it does.
async fn round(link: &mut Link, terms: Terms, serve: impl Future) -> Result<Duration, Reason> {
    let (outcome, _) = join!(link.round(number("42"), terms), serve);
    outcome.result.map_err(|failure| failure.reason())
}

async fn say(stream: &mut TcpStream, reply: &[u8]) {
    stream.write_all(reply).await.expect("the client is there");
}

/// What is closed like this is reset at once.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
}

/// Waits until something is there to be read on the kept connection, be it its end.
async fn heard_something(link: &Link) {
    link.kept.as_ref().expect("a kept connection").readable().await.expect("a live socket");
}

#[tokio::test]
async fn a_fresh_connection_ends_by_our_fin_with_nothing_lost() {
    let (listener, mut link) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        assert_eq!(stream.read(&mut [0]).await.expect("FIN, not a reset"), 0);
    };
    let (outcome, ()) = join!(link.round(number("42"), FRESH), serve);
    let connect = outcome.connect.expect("it connected");
    let round_trip = outcome.result.map_err(|failure| failure.to_string()).expect("a right reply");
    assert!(connect + round_trip <= outcome.elapsed);
    assert!(link.kept.is_none());
}

#[tokio::test]
async fn a_second_reply_in_a_later_segment_is_wrong() {
    let (listener, mut link) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        assert_eq!(stream.read(&mut [0]).await.expect("FIN: the first reply was read"), 0);
        say(&mut stream, b"PAR\n").await;
        stream
    };
    assert_eq!(round(&mut link, FRESH, serve).await, Err(Reason::WrongReply));
}

#[tokio::test]
async fn a_server_without_a_listener_refuses() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let mut link = link_to(address);
    let outcome = link.round(number("42"), FRESH).await;
    assert_eq!(outcome.connect, None);
    let failure = outcome.result.expect_err("nobody listens");
    assert_eq!(failure.reason(), Reason::Refused);
    assert_eq!(failure.to_string(), format!("no connection to {address}: Connection refused (os error 111)"));
}

#[tokio::test]
async fn no_way_leads_to_a_broadcast_address() {
    let mut link = link_to(([255, 255, 255, 255], 8888).into());
    assert_eq!(round(&mut link, FRESH, async {}).await, Err(Reason::Unreachable));
}

#[tokio::test]
async fn a_name_without_an_address_does_not_resolve() {
    let mut link = Link::new("servidor.invalid:8888".parse().expect("a target"));
    assert_eq!(round(&mut link, FRESH, async {}).await, Err(Reason::Resolve));
}

/// Names are looked up in a thread for what blocks. Here is only one, which the test holds until the round is over:
/// so the look-up takes longer than any timeout, whatever the machine's resolver would have said.
#[test]
fn a_look_up_that_takes_too_long_does_not_resolve() {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let runtime = runtime.expect("a runtime");
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    let limit = Duration::from_millis(50);
    let mut link = Link::new("localhost:8888".parse().expect("a target"));
    let round = link.round(number("42"), Terms { connect_timeout: limit, ..FRESH });
    let outcome = runtime.block_on(async { timeout(DEADLINE, round).await }).expect("it is given up");
    drop(release);
    assert_eq!(outcome.connect, None);
    assert!(outcome.elapsed >= limit, "{:?}", outcome.elapsed);
    let failure = outcome.result.expect_err("no address was found in time");
    assert_eq!(failure.reason(), Reason::Resolve);
    assert_eq!(failure.to_string(), "the name was not resolved within 50ms");
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
    let terms = Terms { connect_timeout: patience, ..FRESH };
    assert_eq!(round(&mut link_to(address), terms, async {}).await, Err(Reason::ConnectTimeout));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let (listener, _) = pair().await;
    let accepts = listener.local_addr().expect("it is bound");
    // The port is this test's own, on another address of the loopback network.
    let refuses = SocketAddr::from(([127, 0, 0, 2], accepts.port()));
    let target = "localhost:1".parse().expect("a target");
    let connected = connect(&[refuses, accepts], Duration::from_secs(20), Steps::of(&target)).await;
    let stream = connected.expect("one accepts");
    assert_eq!(stream.peer_addr().expect("it is connected"), accepts);
    assert!(stream.nodelay().expect("a TCP socket"));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (listener, mut link) = pair().await;
    let terms = Terms { reply_timeout: Duration::from_millis(200), ..FRESH };
    assert_eq!(round(&mut link, terms, asked(&listener)).await, Err(Reason::ReplyTimeout));
}

#[tokio::test]
async fn fin_and_reset_in_place_of_a_reply() {
    let (listener, mut link) = pair().await;
    let closes = async { drop(asked(&listener).await) };
    assert_eq!(round(&mut link, FRESH, closes).await, Err(Reason::Closed));
    let resets = async { reset(&asked(&listener).await) };
    assert_eq!(round(&mut link, FRESH, resets).await, Err(Reason::Reset));
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let (listener, mut link) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        stream
    };
    let (first, mut stream) = join!(link.round(number("42"), KEPT), serve);
    assert!(first.connect.is_some() && first.result.is_ok());
    say(&mut stream, b"PA").await;
    // What is there early is surplus, even if it could become the next reply.
    heard_something(&link).await;
    assert_eq!(round(&mut link, KEPT, async {}).await, Err(Reason::WrongReply));

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
            let outcome = link.round(number("42"), KEPT).await;
            assert!(outcome.result.is_ok());
            assert_eq!(outcome.connect.is_none(), used_again);
        }
        link.kept = None;
    };
    join!(ask, serve);
}

#[tokio::test]
async fn a_kept_connection_that_ended_is_made_anew_without_a_failure() {
    let (listener, mut link) = pair().await;
    for resets in [false, true, false] {
        let serve = async {
            let mut stream = asked(&listener).await;
            say(&mut stream, b"PAR\n").await;
            stream
        };
        let (outcome, stream) = join!(link.round(number("42"), KEPT), serve);
        assert!(outcome.result.is_ok());
        assert!(outcome.connect.is_some(), "the connection before has ended");
        if resets {
            reset(&stream);
        }
        drop(stream);
        heard_something(&link).await;
    }
}

#[tokio::test]
async fn a_right_reply_that_ends_a_kept_connection_is_right() {
    let (listener, mut link) = pair().await;
    for _ in 0..2 {
        let serve = async { say(&mut asked(&listener).await, b"PAR").await };
        let (outcome, ()) = join!(link.round(number("42"), KEPT), serve);
        assert!(outcome.connect.is_some() && outcome.result.is_ok());
        assert!(link.kept.is_none());
    }
}

#[tokio::test]
async fn a_kept_connection_is_given_up_when_fresh_ones_are_wanted() {
    let (listener, mut link) = pair().await;
    let serve = async {
        let mut stream = asked(&listener).await;
        say(&mut stream, b"PAR\n").await;
        stream
    };
    let (_, mut first) = join!(link.round(number("42"), KEPT), serve);
    let serve = async { say(&mut asked(&listener).await, b"PAR\n").await };
    assert!(round(&mut link, FRESH, serve).await.is_ok());
    assert_eq!(first.read(&mut [0]).await.expect("FIN"), 0);
}
