//! One connection on a paused clock: what it answers, and for how long it is patient.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;

use daemon::settings::start;
use protocol::Class;
use servidor::connection::{Connection, Next};
use servidor::context::Context;
use servidor::exchange::Scratch;
use servidor::metrics::Reason;
use servidor::open::Open;
use servidor::settings::{Own, PROGRAM, Settings};
use servidor::stop::Stop;
use tokio::io::{
    AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The server's end of a connection without a kernel. It does not block, and wakes its task when it need not.
struct Wire {
    stream: DuplexStream,
    waker: Waker,
    would_have_blocked: Cell<bool>,
}

impl Wire {
    fn outcome<T>(&self, outcome: Poll<io::Result<T>>) -> io::Result<T> {
        self.would_have_blocked.set(outcome.is_pending());
        match outcome {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut cx = Cx::from_waker(&self.waker);
        let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer);
        self.outcome(read).map(|()| buffer.filled().len())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Cx::from_waker(&self.waker);
        let written = Pin::new(&mut self.stream).poll_write(&mut cx, bytes);
        self.outcome(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does for one connection what an event loop does for many.
async fn attend(connection: &mut Connection<Wire>, stop: &Stop) -> Reason {
    let mut stop = pin!(stop.begun());
    let mut alarm = pin!(sleep_until(connection.alarm().0));
    let mut is_stopping = false;
    let mut scratch = Scratch::default();
    poll_fn(|cx| {
        is_stopping = is_stopping || stop.as_mut().poll(cx).is_ready();
        loop {
            scratch.now = Instant::now();
            if let Next::Close(reason) = connection.proceed(&mut scratch) {
                return Poll::Ready(reason);
            }
            if !connection.stream().would_have_blocked.get() {
                continue;
            }
            let (at, reason) = connection.alarm();
            alarm.as_mut().reset(at);
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Next::Close(reason) = connection.time_is_up(reason, &mut scratch) {
                return Poll::Ready(reason);
            }
        }
    })
    .await
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
    let (client, stream) = duplex(buffer);
    let open = Open::begin(Arc::clone(&context), SocketAddr::from(([127, 0, 0, 1], 1)));
    let of_all = Arc::clone(&context);
    let task = tokio::spawn(async move {
        let begin = Instant::now();
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let wire = Wire { stream, waker, would_have_blocked: Cell::new(false) };
        let mut connection = Connection::new(wire, open, Arc::new(settings.own));
        let reason = attend(&mut connection, &of_all.stop).await;
        (reason, connection.into_parts().1.requests, begin.elapsed())
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
    let answered = served.context.metrics.numbers(Class::Odd);
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
