//! What single connections cost: their system calls, and the time that is recorded for them. There are no faults.

use std::sync::Arc;
use std::time::Duration;

use super::peers::Reading;
use super::peers::Step::{Finish, Read};
use super::tables::{NEVER, Row, bytes, rules, scenario, serve};
use super::world::MILLISECOND;
use crate::context::Context;

/// The lines of the trace with a call for the first peer's connection, before the stop. `call` is without `(#0`.
fn calls(rows: Vec<Row>, call: &str) -> Vec<String> {
    let (shared, _) = serve(&scenario(rules(), NEVER), vec![rows]);
    let trace = std::mem::take(&mut shared.world().trace).into_lines();
    let call = format!(" {call}(#0");
    trace
        .into_iter()
        .take_while(|line| !line.ends_with(" stop"))
        .filter(|line| line.contains(&call))
        .collect()
}

#[test]
fn sixteen_kibibytes_of_requests_are_one_read_and_two_writes() {
    let line = "12345678901\n";
    let rows = || vec![(0, bytes(&line.repeat(16 * 1024 / line.len()))), (1000, Finish)];
    assert_eq!(calls(rows(), "receive").len(), 2, "the requests, and the end");
    assert_eq!(calls(rows(), "send").len(), 2, "eight kibibytes, and the rest");
}

#[test]
fn a_connection_is_not_read_before_something_has_arrived() {
    let rows = vec![(1000, bytes("2\n")), (2000, Finish)];
    assert_eq!(calls(rows, "receive").len(), 2, "the request, and the end");
}

#[test]
fn a_client_that_ends_first_costs_no_more_than_its_close() {
    let rows = || vec![(0, bytes("2\n")), (1, Finish)];
    assert_eq!(calls(rows(), "close").len(), 1);
    for call in ["shut_down", "undelivered", "change"] {
        assert_eq!(calls(rows(), call), [""; 0]);
    }
}

// The peer's host takes 64 KiB, and the rest stays in the send buffer.
#[test]
fn what_a_closed_connection_leaves_to_the_kernel_is_at_most_two_kibibytes() {
    let rows = |bytes_left: usize| {
        let requests = "12345678901\n".repeat((64 * 1024 + bytes_left) / 12);
        vec![(0, Read(Reading::Never)), (0, bytes(&requests)), (1000, Finish)]
    };
    assert_eq!(calls(rows(2048), "shut_down"), [""; 0], "it is closed at once");
    assert_eq!(calls(rows(2060), "shut_down").len(), 1, "it lingers");
}

/// How long all replies together took from their read to their write.
fn service_time(context: &Arc<Context>) -> Duration {
    let text = context.metrics.render(&context.limit);
    let sum = text.lines().find_map(|line| line.strip_prefix("servidor_service_seconds_sum "));
    Duration::from_secs_f64(sum.expect("the histogram has a sum").parse().expect("seconds"))
}

#[test]
fn the_service_time_of_replies_that_wait_for_the_peer_includes_the_wait() {
    let flood = bytes(&"12345678901\n".repeat(10_000));
    let rows = vec![(0, Read(Reading::Never)), (0, flood), (2000, Read(Reading::Eager)), (2001, Finish)];
    let (_, context) = serve(&scenario(rules(), NEVER), vec![rows]);
    assert_eq!(service_time(&context).as_millis(), 2000, "one batch has waited");
}

#[test]
fn the_service_time_does_not_include_that_of_other_connections() {
    let mut scenario = scenario(rules(), NEVER);
    scenario.cost = MILLISECOND;
    let alone = serve(&scenario, vec![vec![(100, bytes("2\n"))]]).1;
    let partial = || vec![(100, bytes("2"))];
    let beside = serve(&scenario, vec![partial(), partial(), partial(), vec![(100, bytes("2\n"))]]).1;
    // Each partial line is answered in the end as well.
    let ends = serve(&scenario, vec![partial(), partial(), partial()]).1;
    assert_eq!(service_time(&beside), service_time(&alone) + service_time(&ends));
}

#[test]
fn the_longest_queue_is_served_at_the_stop() {
    // The kernel queues one more than the backlog.
    let most = 1025;
    let mut scenario = scenario(rules(), 1000);
    scenario.listeners = vec![(most, false)];
    let peers = (0..5 + most).map(|_| vec![(0, bytes("2\n"))]).collect();
    let (_, context) = serve(&scenario, peers);
    assert_eq!(context.metrics.connections(), 5 + most as u64);
}
