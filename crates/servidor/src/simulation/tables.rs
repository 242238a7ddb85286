//! Tables of single connections: what the peer sends at which time, the replies, and when and why the connection ends. The
//! event loop is the real one, on a simulated kernel without faults.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::choices::Choices;
use super::driver::Threads;
use super::faults::Faults;
use super::network::Link;
use super::oracle::{Oracle, Rules};
use super::peers::Step::{self, AwaitEnd, Finish, Pause, Read, Reset, Send};
use super::peers::{Peer, Reading};
use super::scenario::{self, Scenario, Theme};
use super::trace::Trace;
use super::world::{Event, Listener, MILLISECOND, SECOND, World};
use crate::connection::DEADLINES_COMPUTED;
use crate::context::Context;
use crate::kernel::simulated::Shared;
use crate::metrics::CloseReason::{self, *};

/// Later than anything in a table.
pub(super) const NEVER: u64 = 3_000_000;

/// A step of the peer, at this time in milliseconds.
pub(super) type Row = (u64, Step);

pub(super) fn bytes(text: &str) -> Step {
    Send(text.as_bytes().to_vec())
}

/// The settings' defaults.
pub(super) fn rules() -> Rules {
    Rules {
        max_connections: 5,
        refuses: false,
        allows_guests: true,
        allows_all: false,
        unterminated_wait: 300 * MILLISECOND,
        idle_timeout: 60 * SECOND,
        line_timeout: 5 * SECOND,
        write_timeout: 5 * SECOND,
        drain_timeout: 2 * SECOND,
    }
}

/// The result for a connection.
struct Played {
    replies: String,
    reason: CloseReason,
    /// When the server sent FIN, or closed, in whole milliseconds.
    ended_at: u64,
}

/// One event loop with one listener, and the stop at this time in milliseconds.
pub(super) fn scenario(rules: Rules, stop_at: u64) -> Scenario {
    Scenario {
        theme: Theme::Mixed,
        loops: 1,
        rules,
        listeners: vec![(1024, false)],
        reloads: Vec::new(),
        stop_at: stop_at * MILLISECOND,
        busy_until: 0,
        strangers: 1,
        cost: 1,
        batch: 256,
    }
}

/// Runs a server whose only peer does what the table says, with the stop at this time in milliseconds.
fn play(rows: Vec<Row>, reloads: Vec<(u64, Rules)>, stop_at: u64) -> Played {
    let mut scenario = scenario(rules(), stop_at);
    scenario.reloads = reloads.into_iter().map(|(at, rules)| (at * MILLISECOND, rules)).collect();
    let (shared, context) = serve(&scenario, vec![rows]);
    let mut world = shared.world();
    let replies = String::from_utf8(std::mem::take(&mut world.peers[0].got)).expect("UTF-8");
    let trace = std::mem::take(&mut world.trace).into_lines();
    let is_end =
        |line: &&String| ["shut_down(#0)", "close(#0)", "reset(#0)"].iter().any(|end| line.contains(end));
    let end = trace.iter().find(is_end).expect("the connection ends");
    let (seconds, fraction) = end.trim().split_once('.').expect("a time");
    let ended_at = format!("{seconds}{}", &fraction[..3]).parse().expect("milliseconds");
    let reason = CloseReason::ALL.into_iter().find(|reason| context.metrics.closed(*reason) > 0);
    Played { replies, reason: reason.expect("it is counted"), ended_at }
}

/// Runs a server on a kernel without faults. Each peer connects at the start, and does what its table says.
pub(super) fn serve(scenario: &Scenario, peers: Vec<Vec<Row>>) -> (Shared, Arc<Context>) {
    let mut settings = scenario::defaults();
    settings.own = scenario.rules.own(&settings.own).as_ref().clone();
    let context = Context::new(&settings);
    let oracle = Oracle::new(Arc::clone(&context), 1, 1, &scenario.rules);
    let mut world = World::new(Choices::from_seed(0), oracle, 1, Trace::kept());
    world.faults = Faults { descriptors: usize::MAX, failing: vec![None], ..Faults::default() };
    let listeners = scenario.listeners.iter();
    world.listeners = listeners.map(|(backlog, inherited)| Listener::new(*backlog, *inherited)).collect();
    world.cost = scenario.cost;
    for (peer, rows) in peers.into_iter().enumerate() {
        let port = u16::try_from(1024 + peer).expect("there are few peers");
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        world.oracle.add_peer(address);
        let mut clock = 0;
        let mut steps = Vec::new();
        for (at, step) in rows {
            steps.extend([Pause((at - clock) * MILLISECOND), step]);
            clock = at;
        }
        steps.push(AwaitEnd);
        world.peers.push(Peer::new("peer: terminated", 0, steps, 0));
        world.links.push(Link::new(address));
        world.schedule(0, Event::Connect(peer));
    }
    // Only differences from it matter.
    let shared = Shared { world: Arc::new(Mutex::new(world)), base: Instant::now() };
    let threads = Threads::new(shared.clone(), settings, &context, scenario);
    threads.assemble(scenario);
    threads.drive();
    threads.clear();
    assert_eq!(shared.world().oracle.violation(), None);
    (shared, context)
}

/// Each line: a name, what the peer does, the replies, why it ended, and when.
fn check(lines: Vec<(&str, Vec<Row>, &str, CloseReason, u64)>) {
    let mut wrong = String::new();
    for (name, rows, replies, reason, ended_at) in lines {
        let played = play(rows, Vec::new(), NEVER);
        if (played.replies.as_str(), played.reason, played.ended_at) != (replies, reason, ended_at) {
            let _ =
                writeln!(wrong, "{name}: {:?}, {:?}, {} ms", played.replies, played.reason, played.ended_at);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_first_request_without_a_line_end() {
    check(vec![
        ("one piece", vec![(0, bytes("7"))], "ÍMPAR", Unterminated, 300),
        (
            "the wait starts again with each piece",
            vec![(0, bytes("4")), (250, bytes("3"))],
            "ÍMPAR",
            Unterminated,
            550,
        ),
        ("FIN takes the place of the wait", vec![(0, bytes("42")), (20, Finish)], "PAR", Unterminated, 20),
        ("a late line end", vec![(0, bytes("4")), (299, bytes("2\n")), (400, Finish)], "PAR\n", Client, 400),
        ("no number", vec![(0, bytes("x"))], &error("x", ""), Unterminated, 300),
    ]);
}

#[test]
fn lines() {
    let many = "12345678901\n".repeat(4000);
    check(vec![
        ("two at once", vec![(0, bytes("1\n2\n")), (1, Finish)], "ÍMPAR\nPAR\n", Client, 1),
        (
            "cut anywhere",
            vec![(0, bytes("1")), (1, bytes("2\n-")), (2, bytes("3\n")), (3, Finish)],
            "PAR\nÍMPAR\n",
            Client,
            3,
        ),
        ("more than one read holds", vec![(0, bytes(&many)), (1, Finish)], &many, Client, 1),
        ("the last one without its end", vec![(0, bytes("2\n4")), (9, Finish)], "PAR\nPAR\n", Client, 9),
        ("a later one that stops", vec![(0, bytes("2\n")), (70, bytes("4"))], "PAR\n", SlowLine, 5070),
        (
            "65 bytes without an end",
            vec![(3, bytes(&"1".repeat(65)))],
            &error(&"1".repeat(65), "\n"),
            Oversize,
            3,
        ),
    ]);
}

#[test]
fn silence() {
    let drip = (0..60).map(|nth| (nth * 200, bytes("1"))).collect();
    check(vec![
        ("from the start", vec![], "", Idle, 60_000),
        ("after a request", vec![(59_000, bytes("2\n"))], "PAR\n", Idle, 119_000),
        ("a byte now and then is a slow line", drip, "", SlowLine, 5000),
        ("a reset", vec![(5, Reset)], "", Io, 5),
    ]);
}

#[test]
fn peers_that_do_not_read() {
    let flood = || bytes(&"12345678901\n".repeat(100_000));
    let never = vec![(0, Read(Reading::Never)), (0, flood())];
    let played = play(never, Vec::new(), NEVER);
    assert_eq!((played.reason, played.ended_at), (SlowReader, 5000));

    // Ten times the least rate, for two minutes.
    let slowly = Reading::Slow { bytes: 10_240, every: SECOND };
    let played = play(vec![(0, Read(slowly)), (0, flood())], Vec::new(), NEVER);
    assert_eq!((played.reason, played.replies.len()), (Idle, 1_200_000), "it may go on to the end");

    let trickle = Reading::Slow { bytes: 100, every: SECOND };
    let played = play(vec![(0, Read(trickle)), (0, flood())], Vec::new(), NEVER);
    assert_eq!(played.reason, SlowReader, "a trickle does not hold the permit for ever");
}

/// A peer that asks for more than the kernel holds for both sides, at this time.
fn flood(at: u64, reading: Reading, requests: usize) -> Vec<Row> {
    vec![(0, Read(reading)), (at, bytes(&"12345678901\n".repeat(requests)))]
}

#[test]
fn of_129_peers_that_do_not_read_the_one_that_has_waited_longest_is_reset() {
    // The first one has taken some of its replies meanwhile, and another one has taken all.
    let mut peers = vec![flood(0, Reading::Slow { bytes: 10_240, every: SECOND / 2 }, 20_000)];
    peers.extend((1..128).map(|_| flood(100, Reading::Never, 10_000)));
    let mut recovers = flood(0, Reading::Never, 10_000);
    recovers.push((50, Read(Reading::Eager)));
    peers.push(recovers);
    peers.push(flood(3000, Reading::Never, 10_000));
    let (shared, _) = serve(&scenario(Rules { max_connections: 200, ..rules() }, NEVER), peers);
    let trace = std::mem::take(&mut shared.world().trace).into_lines();
    let first = trace.iter().find(|line| line.contains(" reset(")).expect("one is reset");
    assert!(first.trim().starts_with("3.0") && first.contains("reset(#1)"), "{first}");
}

#[test]
fn a_stop() {
    let ask = |text: &str| vec![(0, bytes("2\n")), (1000, bytes(text))];
    let newcomer = |at| vec![(at, bytes("10"))];
    for (name, rows, replies, reason, ended_at) in [
        ("whoever was answered", ask(""), "PAR\n", Stopping, 1000),
        ("what has arrived", ask("3\n4\n5"), "PAR\nÍMPAR\nPAR\nÍMPAR\n", Stopping, 1000),
        ("a newcomer has a second", vec![], "", Stopping, 2000),
        ("in which it may ask", newcomer(1500), "PAR", Unterminated, 1800),
        ("and no longer", newcomer(1900), "PAR", Unterminated, 2000),
    ] {
        let played = play(rows, Vec::new(), 1000);
        assert_eq!(
            (played.replies.as_str(), played.reason, played.ended_at),
            (replies, reason, ended_at),
            "{name}"
        );
    }
    let clogged = vec![(0, Read(Reading::Never)), (0, bytes(&"12345678901\n".repeat(100_000)))];
    let played = play(clogged, Vec::new(), 1000);
    assert_eq!((played.reason, played.ended_at), (Forced, 2800), "nine tenths of drain-timeout");
}

#[test]
fn a_reload() {
    let shorter = Rules { idle_timeout: 10 * SECOND, ..rules() };
    let played = play(vec![(0, bytes("2\n"))], vec![(3000, shorter.clone())], NEVER);
    assert_eq!((played.reason, played.ended_at), (Idle, 10_000), "time-outs apply to open connections");
    let played = play(vec![(0, bytes("2\n"))], vec![(30_000, shorter)], NEVER);
    assert_eq!((played.reason, played.ended_at), (Idle, 30_000), "even if they are over by then");
    let closed = Rules { allows_guests: false, ..rules() };
    let played = play(vec![(0, bytes("2\n")), (3000, bytes("3"))], vec![(3000, closed)], NEVER);
    assert_eq!(played.replies, "PAR\nÍMPAR\n", "what has arrived is answered");
    assert_eq!((played.reason, played.ended_at), (NotAllowed, 3000));
}

/// How many deadlines of connections are computed for a thousand requests of one peer, with `idle` other peers.
fn deadlines_computed_with(idle: usize) -> u64 {
    let computed = |requests: u64| {
        let mut peers: Vec<Vec<Row>> = (0..idle).map(|_| Vec::new()).collect();
        peers.push((1..=requests).map(|request| (request * 10, bytes("2\n"))).collect());
        let before = DEADLINES_COMPUTED.get();
        serve(&scenario(Rules { max_connections: 1000, ..rules() }, 12_000), peers);
        DEADLINES_COMPUTED.get() - before
    };
    // The difference leaves out what accepting and stopping cost.
    computed(1001) - computed(1)
}

// A turn of the event loop that walks through the connections must compute their deadlines to know what to do: a thousand
// requests would compute half a million deadlines with 500 idle connections. One deadline for each request is enough.
#[test]
fn a_request_costs_the_same_with_many_idle_connections() {
    for idle in [10, 500] {
        assert_eq!(deadlines_computed_with(idle), 1000, "with {idle} idle connections");
    }
}

/// The reply to a request that is not a number, with this line end.
fn error(request: &str, line_end: &str) -> String {
    let reason = protocol::decode_unterminated(request.as_bytes()).expect_err("it is no number");
    format!("{}{line_end}", String::from_utf8_lossy(protocol::rejection(reason)))
}
