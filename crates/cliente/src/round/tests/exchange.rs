//! What the phases after the connect make of a server's bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::join;
use tokio::time::{sleep, timeout};

use super::super::exchange::{LINGER, Reply, close_lingering, exchange};
use super::super::*;
use super::number;
use crate::round::reason::Reason;

const STEP: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(3);

/// What follows the server's last bytes.
#[derive(Clone, Copy)]
enum Then {
    Ends,
    Waits,
}

/// The reason why it fails to ask about `number` when `pieces` come, a [`STEP`] before each; or the reply.
async fn reply_in(pieces: &[&[u8]], then: Then, number: &Number) -> Result<Reply, Reason> {
    let (mut client, mut server) = duplex(8192);
    let serve = async {
        for piece in pieces {
            sleep(STEP).await;
            server.write_all(piece).await.expect("the client is there");
        }
        match then {
            Then::Ends => None,
            Then::Waits => Some(server),
        }
    };
    let mut progress = Progress::default();
    let exchange = exchange(&mut client, number, &mut progress);
    let (reply, _waiting) = join!(timeout(PATIENCE, exchange), serve);
    reply.map_err(|_| Reason::ReplyTimeout)?.map_err(|failure| failure.reason())
}

/// Numbers of each class, and what they deserve.
fn examples() -> [(Number, &'static [u8]); 4] {
    [
        (number("42"), b"PAR\n"),
        (number("9999999999"), "ÍMPAR\n".as_bytes()),
        (number("12345678901"), b"12345678901\n"),
        (number("123456789012345678901234567890"), b"123456789012345678901234567890\n"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_right_reply_may_come_in_any_pieces() {
    for (number, reply) in examples() {
        for at in 0..reply.len() {
            let (head, tail) = reply.split_at(at);
            let pieces: &[&[u8]] = if at == 0 { &[tail] } else { &[head, tail] };
            let reply = reply_in(pieces, Then::Waits, &number).await;
            assert_eq!(reply.map(|reply| reply.ended), Ok(false), "{number} split at {at}");
        }
        let bytes: Vec<_> = reply.chunks(1).collect();
        assert!(reply_in(&bytes, Then::Waits, &number).await.is_ok(), "{number} byte by byte");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_ends_a_reply_and_the_connection() {
    for (number, reply) in examples() {
        let reply = reply_in(&[reply.trim_ascii_end()], Then::Ends, &number).await;
        assert_eq!(reply.map(|reply| reply.ended), Ok(true), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_ends_with_the_read_that_completed_the_reply() {
    let reply = reply_in(&[b"P", b"A", b"R", b"\n"], Then::Waits, &number("2")).await;
    assert_eq!(reply.map(|reply| reply.round_trip), Ok(4 * STEP));
}

#[tokio::test(start_paused = true)]
async fn any_other_byte_anywhere_makes_a_reply_wrong() {
    for (number, right) in examples() {
        for position in 0..right.len() {
            for byte in (0..=u8::MAX).filter(|&byte| byte != right[position]) {
                let mut reply = right.to_vec();
                reply[position] = byte;
                for then in [Then::Waits, Then::Ends] {
                    let outcome = reply_in(&[&reply], then, &number).await;
                    assert_eq!(outcome.err(), Some(Reason::WrongReply), "{}", reply.escape_ascii());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_else_may_come() {
    let long = [b'7'; 4096];
    let endless_error = [b"ERRO longo: ".as_slice(), &long[..]].concat();
    let table: &[(&[&[u8]], Then, Reason)] = &[
        (&[], Then::Waits, Reason::ReplyTimeout),
        (&[b"PA"], Then::Waits, Reason::ReplyTimeout),
        (&[b"PAR"], Then::Waits, Reason::ReplyTimeout),
        (&[], Then::Ends, Reason::Closed),
        (&[b"PA"], Then::Ends, Reason::WrongReply),
        (&[b"\n"], Then::Waits, Reason::WrongReply),
        (&[b"PAR\nPAR\n"], Then::Waits, Reason::WrongReply),
        (&[b"PAR\n\n"], Then::Waits, Reason::WrongReply),
        (&[b"PAR", b"PAR"], Then::Ends, Reason::WrongReply),
        (&[b"PAR\r\n"], Then::Waits, Reason::WrongReply),
        (&["ÍMPAR\n".as_bytes()], Then::Waits, Reason::WrongReply),
        (&["ÍMPAR\n".as_bytes()], Then::Ends, Reason::WrongReply),
        (&[b"42\n"], Then::Waits, Reason::WrongReply),
        (&[&long], Then::Waits, Reason::WrongReply),
        (&[&endless_error], Then::Waits, Reason::WrongReply),
        (&["ERRO ocupado: não há lugar\n".as_bytes()], Then::Waits, Reason::ServerError),
        (&[b"ERRO", b" vazio", b": x\n"], Then::Waits, Reason::ServerError),
        (&[b"ERRO ocupado: sem lugar"], Then::Ends, Reason::ServerError),
    ];
    for &(pieces, then, reason) in table {
        let shown: Vec<_> = pieces.iter().map(|piece| piece.escape_ascii().to_string()).collect();
        let outcome = reply_in(pieces, then, &number("42")).await;
        assert_eq!(outcome.err(), Some(reason), "{shown:?}");
    }
}

#[tokio::test]
async fn the_request_is_the_number_and_a_line_feed() {
    for (number, reply) in examples() {
        let (mut client, mut server) = duplex(1024);
        server.write_all(reply).await.expect("the client is there");
        exchange(&mut client, &number, &mut Progress::default())
            .await
            .map_err(|failure| failure.to_string())
            .expect("the right reply");
        drop(client);
        let mut request = String::new();
        server.read_to_string(&mut request).await.expect("ASCII");
        assert_eq!(request, format!("{number}\n"));
    }
}

#[tokio::test]
async fn what_a_server_said_before_it_hung_up_is_heard() {
    let (mut client, mut server) = duplex(1024);
    server.write_all("ERRO ocupado: não há lugar\n".as_bytes()).await.expect("the client is there");
    drop(server);
    let failure = exchange(&mut client, &number("42"), &mut Progress::default()).await.expect_err("no reply");
    assert_eq!(failure.to_string(), "the server answered \"ERRO ocupado: não há lugar\"");
}

#[tokio::test]
async fn hanging_up_unread_and_without_a_word_is_a_reset() {
    let (mut client, server) = duplex(1024);
    drop(server);
    let failure = exchange(&mut client, &number("42"), &mut Progress::default()).await.expect_err("no reply");
    assert_eq!(failure.reason(), Reason::Reset, "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_lingering_close_ends_our_side_and_waits_for_the_servers_end() {
    let (mut client, mut server) = duplex(1024);
    let serve = async {
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the client's end");
        sleep(STEP).await;
        drop(server);
        rest
    };
    let begun = Instant::now();
    let (closed, rest) = join!(close_lingering(&mut client), serve);
    assert!(closed.is_ok());
    assert_eq!((rest, begun.elapsed()), (Vec::new(), STEP));
}

#[tokio::test(start_paused = true)]
async fn a_second_reply_during_a_lingering_close_is_wrong() {
    let (mut client, mut server) = duplex(1024);
    let serve = async {
        sleep(STEP).await;
        server.write_all(b"PAR\n").await.expect("the client is there");
    };
    let (closed, ()) = join!(close_lingering(&mut client), serve);
    assert_eq!(closed.err().map(|failure| failure.reason()), Some(Reason::WrongReply));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_closes_is_left() {
    let (mut client, _server) = duplex(1024);
    let begun = Instant::now();
    assert!(close_lingering(&mut client).await.is_ok());
    assert_eq!(begun.elapsed(), LINGER);
}
