//! The load generator, against our own server and against servers that go wrong.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use cliente::bench::progress::Progress;
use cliente::bench::{Load, MOST_CONNECTIONS_PER_SECOND, Outcome, run};
use cliente::round::reason::Reason;
use protocol::Class;
use servidor::Context;
use support::{held, next, serve};
use testkit::{DEADLINE, wait_until};

const RATE: f64 = 200.0;
const STALL: Duration = Duration::from_secs(1);

fn servidor() -> (SocketAddr, Arc<Context>) {
    support::servidor::serve("127.0.0.1", &["--max-connections", "100"])
}

fn load(address: SocketAddr) -> Load {
    Load { duration: Duration::from_millis(300), ..support::load(address) }
}

/// So many requests, however long they take.
fn requests(count: u64, address: SocketAddr) -> Load {
    Load { requests: Some(count), duration: DEADLINE, ..load(address) }
}

fn measure(load: &Load) -> Outcome {
    run(load, &Progress::new(load.threads)).expect("the system gives what it takes")
}

/// Waits until the server has counted as many numbers as the client got right replies.
fn assert_counts_agree(context: &Context, outcome: &Outcome) {
    let served = || -> u64 { Class::ALL.map(|class| context.metrics.numbers(class)).iter().sum() };
    wait_until("the server counts what it has answered", || served() >= outcome.tally.right);
    assert_eq!(served(), outcome.tally.right);
    assert_eq!(context.metrics.connections(), outcome.tally.connections);
}

fn failures(outcome: &Outcome, reason: Reason) -> u64 {
    outcome.tally.failures[reason.index()]
}

#[test]
fn the_server_counts_what_the_generator_counts() {
    let (address, context) = servidor();
    let load = Load { connections: 9, pipeline: 16, threads: 2, ..requests(1000, address) };
    let outcome = measure(&load);
    assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
    assert_counts_agree(&context, &outcome);
    assert_eq!(outcome.tally.connections, 9);
    assert_eq!(outcome.tally.latency.len(), outcome.tally.right, "all is measured without a warm-up");
    for class in Class::ALL {
        assert!(context.metrics.numbers(class) > 0, "{class:?}");
    }
}

#[test]
fn the_warm_up_is_checked_but_not_measured() {
    let (address, context) = servidor();
    let outcome = measure(&Load { warmup: Duration::from_millis(200), ..load(address) });
    assert_counts_agree(&context, &outcome);
    let measured = outcome.tally.latency.len();
    assert!(0 < measured && measured < outcome.tally.right, "{measured} of {}", outcome.tally.right);
}

#[test]
fn a_fresh_connection_carries_one_batch() {
    let (address, context) = servidor();
    let load = Load { connections: 4, pipeline: 3, keep: false, ..load(address) };
    let outcome = measure(&load);
    assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
    assert_counts_agree(&context, &outcome);
    assert_eq!(outcome.tally.right, 3 * outcome.tally.connections);
    let most = load.duration.as_secs_f64() * f64::from(MOST_CONNECTIONS_PER_SECOND);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let made = outcome.tally.connections as f64;
    // What the pace may catch up at once, and those that were waiting for their turn at the end.
    assert!(made <= most + 200.0, "{made} of {most}");
}

#[test]
fn an_open_loop_asks_as_often_as_it_is_told() {
    for keep in [true, false] {
        let (address, context) = servidor();
        let load = Load { connections: 3, rate: Some(RATE), threads: 2, keep, ..load(address) };
        let outcome = measure(&load);
        assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
        assert_counts_agree(&context, &outcome);
        assert_eq!(outcome.tally.right, 60, "0.3 s at 200 a second");
    }
}

#[test]
fn wrong_replies_are_counted_one_by_one() {
    let (right, wrong) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters = [Arc::clone(&right), Arc::clone(&wrong)];
    let address = serve(move |asked| {
        let mut next = Some(asked);
        while let Some(mut asked) = next {
            let is_wrong = asked.right() != b"PAR\n";
            // A generator that has seen enough is gone.
            if !asked.try_say(b"PAR\n") {
                return;
            }
            counters[usize::from(is_wrong)].fetch_add(1, Relaxed);
            next = asked.next();
        }
    });
    let outcome = measure(&Load { pipeline: 8, ..requests(100, address) });
    assert!(outcome.tally.wrong() > 0 && outcome.tally.right > 0, "{:?}", outcome.tally);
    let counted = || (right.load(Relaxed), wrong.load(Relaxed));
    let expected = (outcome.tally.right, outcome.tally.wrong());
    // The server counts a reply when it has sent it.
    wait_until("the server counts its last reply", || counted() == expected);
    assert_eq!(outcome.tally.failed_in_all(), outcome.tally.wrong());
    assert!(!outcome.all_right());
}

#[test]
fn a_reply_too_many_is_wrong_and_ends_the_connection() {
    let address = serve(|mut asked| {
        let reply = asked.right();
        asked.say(&[reply.as_slice(), b"PAR\n"].concat());
        // The generator may end it with a reset: it has not read all.
        drop(asked.next());
    });
    let outcome = measure(&requests(20, address));
    assert!(outcome.tally.wrong() > 0, "{:?}", outcome.tally.failures);
    assert!(outcome.tally.connections > 1, "another connection is tried");
}

#[test]
fn a_server_without_a_place_is_a_server_error() {
    let arguments = ["--max-connections", "1", "--overload", "refuse"];
    let (address, _) = support::servidor::serve("127.0.0.1", &arguments);
    let outcome = measure(&Load { connections: 2, ..load(address) });
    assert!(outcome.tally.right > 0, "the first is served");
    assert!(failures(&outcome, Reason::ServerError) > 0, "{:?}", outcome.tally.failures);
    assert_eq!(outcome.tally.wrong(), 0);
}

#[test]
fn a_server_that_closes_is_a_failure_and_asked_again() {
    let address = serve(|mut asked| {
        let reply = asked.right();
        asked.say(&reply);
        drop(asked.next());
    });
    let outcome = measure(&requests(20, address));
    assert!(outcome.tally.right > 0);
    let lost = failures(&outcome, Reason::Closed) + failures(&outcome, Reason::Reset);
    assert!(lost > 0, "{:?}", outcome.tally.failures);
    assert_eq!(outcome.tally.failed_in_all(), lost);
}

#[test]
fn a_server_that_says_nothing_ends_no_later_than_its_patience() {
    let (address, asked) = held();
    let outcome = measure(&Load { reply_timeout: Duration::from_millis(100), ..load(address) });
    drop(next(&asked));
    assert_eq!(outcome.tally.right, 0);
    assert!(failures(&outcome, Reason::ReplyTimeout) > 0, "{:?}", outcome.tally.failures);
    assert!(!outcome.all_right());
}

/// Stalls once, at its twentieth request.
fn stalling() -> SocketAddr {
    let mut count = 0;
    serve(move |asked| {
        let mut next = Some(asked);
        while let Some(mut asked) = next {
            count += 1;
            if count == 20 {
                let begun = std::time::Instant::now();
                while begun.elapsed() < STALL {
                    thread::park_timeout(STALL);
                }
            }
            let reply = asked.right();
            asked.say(&reply);
            next = asked.next();
        }
    })
}

/// How many latencies were half of the stall or longer.
fn slow(outcome: &Outcome) -> u64 {
    assert!(outcome.all_right(), "{:?}", outcome.tally.failures);
    let half = u64::try_from(STALL.as_nanos() / 2).expect("half a second");
    outcome.tally.latency.count_between(half, u64::MAX)
}

#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let duration = 2 * STALL;
    let closed = measure(&Load { duration, ..load(stalling()) });
    let open = measure(&Load { duration, rate: Some(RATE), ..load(stalling()) });
    // A busy machine may stall too.
    assert!((1..=5).contains(&slow(&closed)), "{} slow", slow(&closed));
    // Of the 200 requests that fell due meanwhile, half waited for half of it or longer.
    assert!(slow(&open) >= 90, "{} slow", slow(&open));
    assert!(
        open.tally.latency.value_at_quantile(0.9) >= u64::try_from(STALL.as_nanos() / 2).expect("it fits")
    );
    assert!(closed.tally.latency.value_at_quantile(0.5) < open.tally.latency.value_at_quantile(0.9));
}
