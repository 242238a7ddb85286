//! One connection on a paused clock: what it answers, and for how long it is patient.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;

use daemon::settings::start;
use protocol::Class;
use servidor::connection::{Connection, Stream};
use servidor::context::Context;
use servidor::events::Peer;
use servidor::metrics::Reason;
use servidor::settings::{Own, PROGRAM, Settings};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The server's end of a connection without a kernel.
struct Wire(DuplexStream);

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Cx<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for Wire {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.0).poll_read(&mut Cx::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(outcome) => outcome.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

struct Served {
    client: DuplexStream,
    context: Arc<Context>,
    task: JoinHandle<(Reason, u64, Duration)>,
}

fn settings() -> Settings {
    start::<Own>(&PROGRAM, ["servidor".into()]).expect("the defaults are in order").settings
}

fn serve(buffer: usize) -> Served {
    let settings = settings();
    let context = Context::new(&settings);
    let (client, server) = duplex(buffer);
    let peer = Peer { connection: 1, address: SocketAddr::from(([127, 0, 0, 1], 1)) };
    let mut connection = Connection::new(Wire(server), peer, Arc::clone(&context), Arc::new(settings.own));
    let task = tokio::spawn(async move {
        let begin = Instant::now();
        let reason = connection.serve().await;
        (reason, connection.requests(), begin.elapsed())
    });
    Served { client, context, task }
}

impl Served {
    async fn reply(&mut self, expected: &str) {
        let mut reply = vec![0; expected.len()];
        self.client.read_exact(&mut reply).await.expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    }

    async fn ended(self, reason: Reason, requests: u64) -> Duration {
        let (its_reason, its_requests, lasted) = self.task.await.expect("no panic");
        assert_eq!((its_reason, its_requests), (reason, requests));
        lasted
    }
}

#[tokio::test(start_paused = true)]
async fn bare_digits_are_answered_bare_after_the_wait() {
    let mut served = serve(1024);
    served.client.write_all(b"4").await.unwrap();
    sleep(Duration::from_millis(250)).await;
    served.client.write_all(b"3").await.unwrap();
    served.reply("ÍMPAR").await;
    let lasted = served.ended(Reason::Unterminated, 1).await;
    assert_eq!(lasted.as_millis(), 550, "the wait begins anew with each piece");
}

#[tokio::test(start_paused = true)]
async fn a_half_close_takes_the_place_of_the_wait() {
    let mut served = serve(1024);
    served.client.write_all(b"42").await.unwrap();
    served.client.shutdown().await.unwrap();
    served.reply("PAR").await;
    assert_eq!(served.ended(Reason::Unterminated, 1).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_late_line_end_makes_it_a_line() {
    let mut served = serve(1024);
    served.client.write_all(b"42").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    served.client.write_all(b"\n7").await.unwrap();
    served.reply("PAR\n").await;
    served.client.shutdown().await.unwrap();
    served.reply("ÍMPAR\n").await;
    served.ended(Reason::Client, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_is_a_slow_line() {
    let mut served = serve(1024);
    served.client.write_all(b"1").await.unwrap();
    let mut writer = served.client;
    let drip = tokio::spawn(async move {
        for _ in 0..60 {
            sleep(Duration::from_millis(200)).await;
            if writer.write_all(b"1").await.is_err() {
                break;
            }
        }
        writer
    });
    let (reason, requests, lasted) = served.task.await.unwrap();
    assert_eq!((reason, requests, lasted.as_secs()), (Reason::SlowLine, 0, 5));
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn later_lines_are_waited_for_to_their_timeout_not_the_wait() {
    let mut served = serve(1024);
    served.client.write_all(b"2\n4").await.unwrap();
    served.reply("PAR\n").await;
    let lasted = served.ended(Reason::SlowLine, 1).await;
    assert_eq!(lasted.as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_and_a_request_puts_it_off() {
    let mut served = serve(1024);
    sleep(Duration::from_secs(59)).await;
    served.client.write_all(b"2\n").await.unwrap();
    served.reply("PAR\n").await;
    let lasted = served.ended(Reason::Idle, 1).await;
    assert_eq!(lasted.as_secs(), 59 + 60);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_read_from_either() {
    let mut served = serve(4096);
    let flood = "1\n".repeat(200_000);
    let written = timeout(Duration::from_secs(3), served.client.write_all(flood.as_bytes())).await;
    assert!(written.is_err(), "the flood was swallowed");
    let answered = served.context.metrics.totals().numbers(Class::Odd);
    assert_eq!(answered, 2048, "one read of the 4096 bytes that fit, and then nothing before they are taken");
    let lasted = served.ended(Reason::SlowReader, 2048).await;
    assert_eq!(lasted.as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_caught_up_has_all_its_idle_time() {
    let mut served = serve(4096);
    served.client.write_all("1\n".repeat(2048).as_bytes()).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    served.reply(&"ÍMPAR\n".repeat(2048)).await;
    let lasted = served.ended(Reason::Idle, 2048).await;
    assert_eq!(lasted.as_secs(), 4 + 60);
}

#[tokio::test(start_paused = true)]
async fn replies_that_outgrow_their_requests_come_whole_and_in_order() {
    const ROUNDS: usize = 5000;
    let mut served = serve(100_000);
    let requests = "\n1\n\n".repeat(ROUNDS);
    let empty = String::from_utf8_lossy(protocol::rejection(protocol::Rejection::Empty));
    let expected = format!("{empty}\nÍMPAR\n{empty}\n").repeat(ROUNDS);
    let (mut reader, mut writer) = tokio::io::split(served.client);
    let write = tokio::spawn(async move {
        writer.write_all(requests.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut replies = Vec::new();
    while replies.len() < expected.len() {
        assert!(reader.read_buf(&mut replies).await.unwrap() > 0, "the connection ended early");
    }
    assert_eq!(replies, expected.as_bytes());
    write.await.unwrap();
    served.client = duplex(1).0;
    served.ended(Reason::Client, 3 * ROUNDS as u64).await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_line_gets_its_error_and_no_more() {
    let mut served = serve(100_000);
    served.client.write_all(&[b'1'; 65]).await.unwrap();
    let too_long = String::from_utf8_lossy(protocol::rejection(protocol::Rejection::TooLong));
    served.reply(&format!("{too_long}\n")).await;
    assert_eq!(served.ended(Reason::Oversize, 1).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_has_arrived_even_if_unterminated() {
    let mut served = serve(100_000);
    served.client.write_all(b"1\n").await.unwrap();
    served.reply("ÍMPAR\n").await;
    served.client.write_all(b"2\n3\n4").await.unwrap();
    served.context.stop.begin(Duration::from_secs(2));
    served.reply("PAR\nÍMPAR\nPAR\n").await;
    assert_eq!(served.ended(Reason::Stopping, 4).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_a_newcomer_a_second() {
    let mut served = serve(1024);
    served.context.stop.begin(Duration::from_secs(2));
    sleep(Duration::from_millis(900)).await;
    served.client.write_all(b"10").await.unwrap();
    served.reply("PAR").await;
    served.ended(Reason::Unterminated, 1).await;

    let served = serve(1024);
    served.context.stop.begin(Duration::from_secs(2));
    assert_eq!(served.ended(Reason::Stopping, 0).await.as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever_for_a_reader() {
    let mut served = serve(1024);
    let flood = "1\n".repeat(20_000);
    let _ = timeout(Duration::from_millis(10), served.client.write_all(flood.as_bytes())).await;
    served.context.stop.begin(Duration::from_secs(2));
    let (reason, _, lasted) = served.task.await.unwrap();
    assert_eq!(reason, Reason::Forced);
    assert!(lasted < Duration::from_secs(2), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_reads_a_flood_only_so_far() {
    let mut served = serve(200_000);
    served.client.write_all(b"1\n").await.unwrap();
    served.reply("ÍMPAR\n").await;
    served.client.write_all("1\n".repeat(90_000).as_bytes()).await.unwrap();
    served.context.stop.begin(Duration::from_secs(2));
    let mut replies = Vec::new();
    let reading = async { while served.client.read_buf(&mut replies).await.unwrap() > 0 {} };
    tokio::join!(reading, async {
        let (reason, requests, _) = served.task.await.unwrap();
        assert_eq!(reason, Reason::Stopping);
        assert!((32_000..90_000).contains(&requests), "{requests} requests");
    });
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_begins_with_a_flood_is_idle_after_it() {
    const REQUESTS: usize = 1_000_000;
    let mut served = serve(8 << 20);
    // All is there before the connection is first looked at, and is more than the runtime lets it do in one go.
    served.client.write_all(&b"2\n".repeat(REQUESTS)).await.unwrap();
    let lasted = timeout(Duration::from_hours(1), served.ended(Reason::Idle, REQUESTS as u64)).await;
    assert_eq!(lasted.expect("the timer is set").as_secs(), 60);
}
