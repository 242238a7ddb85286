//! Whether a round trip is what the kernel saw: from the request's packet to the reply's, in the kernel's own times.
//!
//! On loopback a packet arrives where it was sent, so the times that the server's socket keeps are those of both
//! sides. What a round trip has beyond them is this program's way into the kernel with the request, and the kernel's
//! way to this program with the reply, its waking included.

use std::io::{IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use cliente::bench::progress::Progress;
use cliente::bench::{Load, run};
use cliente::resolve::{Resolver, Wanted};
use cliente::round::{Options, Session};
use cliente::stall::StallMeter;
use nix::errno::Errno;
use nix::sys::socket::sockopt::Timestamping;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt};
use protocol::{Number, answer};
use testkit::{DEADLINE, wait_until};
use tokio::runtime::Builder;
use tokio::time::sleep;

/// Answers one connection, and sends the time from each request's packet to its reply's.
fn serve_with_times() -> (SocketAddr, Receiver<Duration>) {
    let keeper = keep_arrival_times();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (times_to, times) = channel();
    thread::spawn(move || {
        answer_all(listener.accept().expect("a connection").0, &times_to);
        drop(keeper);
    });
    (address, times)
}

/// A socket that makes the kernel keep times of arrival, of all packets, for as long as it is open.
///
/// The kernel begins with that in a thread of its own: on a busy machine, long after a socket has asked for it.
fn keep_arrival_times() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let wanted = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(&socket, Timestamping, &wanted).expect("the kernel keeps times");
    wait_until("the kernel keeps times of arrival", || {
        socket.send_to(b"1", address).expect("loopback takes it");
        let (_, time) = receive(&socket, &mut [0], MsgFlags::empty()).expect("what was sent");
        time.is_some()
    });
    socket
}

fn answer_all(mut stream: TcpStream, times_to: &Sender<Duration>) {
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("above zero");
    let both =
        TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE;
    let told = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
    setsockopt(&stream, Timestamping, &(both | told)).expect("the kernel keeps times");
    let mut request = [0; 64];
    while let Ok((length @ 1.., received)) = receive(&stream, &mut request, MsgFlags::empty()) {
        let line = request[..length].strip_suffix(b"\n").expect("one whole request a packet");
        let number = Number::parse(line).expect("a number");
        let received = received.expect("the kernel keeps times of arrival");
        stream.write_all(&[answer(&number), b"\n"].concat()).expect("the client is there");
        let mut sent = None;
        wait_until("the kernel tells when the reply was sent", || {
            sent = receive(&stream, &mut [], MsgFlags::MSG_ERRQUEUE).ok().and_then(|(_, time)| time);
            sent.is_some()
        });
        let kernel =
            sent.and_then(|sent| sent.checked_sub(received)).expect("the reply comes after the request");
        // A test that is over takes no more.
        let _ = times_to.send(kernel);
    }
}

/// Reads bytes and the kernel's time of them, or only the time of what was sent, from the queue of errors.
fn receive(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
    flags: MsgFlags,
) -> Result<(usize, Option<Duration>), Errno> {
    let mut space = nix::cmsg_space!([u8; 256]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let time = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampsns(times) => Some(Duration::from(times.system)),
        _ => None,
    });
    Ok((message.bytes, time))
}

/// Makes rounds on one kept connection, and returns what each round trip has beyond the kernel's time of it.
fn beyond_the_kernel(rounds: u32, pause: Duration) -> Vec<Duration> {
    let (address, times) = serve_with_times();
    let target = address.to_string().parse().expect("a target");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = Options {
            connect_timeout: DEADLINE,
            reply_timeout: DEADLINE,
            stall_threshold: DEADLINE,
            keep: true,
            wanted: Wanted::ANY,
        };
        let mut session = Session::new(target, StallMeter::default(), Resolver::of_this_host());
        let mut differences = Vec::new();
        for round in 1..=rounds {
            let number = Number::parse(round.to_string().as_bytes()).expect("a number");
            let round_trip = session.round(number, options).await.result.expect("a right reply");
            let kernel = times.recv_timeout(DEADLINE).expect("the server's time");
            let difference = round_trip.checked_sub(kernel);
            differences
                .push(difference.unwrap_or_else(|| panic!("{round_trip:?}, but the kernel's {kernel:?}")));
            // A sleep of no time may take a millisecond.
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        differences
    })
}

/// The same by the least that a program can do: one blocking call to send, and one to receive.
fn beyond_the_kernel_at_least(rounds: u32, pause: Duration) -> Vec<Duration> {
    let (address, times) = serve_with_times();
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut differences = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        stream.write_all(b"4\n").expect("the server is there");
        let length = stream.read(&mut [0; 64]).expect("a reply");
        let round_trip = begun.elapsed();
        assert_eq!(length, b"PAR\n".len());
        let kernel = times.recv_timeout(DEADLINE).expect("the server's time");
        differences.push(round_trip.checked_sub(kernel).expect("it contains the kernel's time"));
        if !pause.is_zero() {
            thread::park_timeout(pause);
        }
    }
    differences
}

fn quantiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [0.5, 0.9, 0.99].map(|quantile| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        times[((times.len() - 1) as f64 * quantile) as usize]
    })
}

#[test]
fn a_round_trip_contains_the_kernels_and_not_much_more() {
    let least = beyond_the_kernel(200, Duration::ZERO).into_iter().min().expect("200 rounds");
    // A machine that is busy lets a program wait, but not in each of 200 rounds; a wrong unit or clock shows in each.
    assert!(least < Duration::from_millis(20), "{least:?}");
}

#[test]
fn a_latency_of_the_bench_contains_the_kernels_time() {
    let (address, times) = serve_with_times();
    let load = Load {
        address,
        connections: 1,
        pipeline: 1,
        rate: None,
        duration: Duration::from_millis(200),
        requests: None,
        warmup: Duration::ZERO,
        keep: true,
        threads: 1,
        connect_timeout: DEADLINE,
        reply_timeout: DEADLINE,
    };
    let outcome = run(&load, &Progress::new(1)).expect("the system gives what it takes");
    assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
    let times: Vec<Duration> = times.iter().collect();
    assert_eq!(times.len() as u64, outcome.tally.right);
    let ours = Duration::from_nanos(outcome.tally.latency.value_at_quantile(0.5));
    let [kernels, ..] = quantiles(times);
    println!("bench: median {ours:?}, the kernel's {kernels:?}");
    assert!(ours > kernels, "{ours:?}, but the kernel's {kernels:?}");
}

/// Measures for the manual: `cargo test --release -p cliente --test truth -- --ignored --nocapture`.
#[test]
#[ignore = "tells figures, and asserts nothing that the others do not"]
fn how_much_more() {
    for (rounds, pause) in [(5000, Duration::ZERO), (100, Duration::from_millis(100))] {
        for (program, differences) in [
            ("cliente", beyond_the_kernel(rounds, pause)),
            ("a bare loop", beyond_the_kernel_at_least(rounds, pause)),
        ] {
            let [median, p90, p99] = quantiles(differences);
            println!("{program}, {rounds} rounds, {pause:?} apart: p50 {median:?}, p90 {p90:?}, p99 {p99:?}");
        }
    }
}
