//! Models of single types.

use std::sync::Arc;

use daemon::sync::{explore_all, explore_most, thread};
use protocol::Class;

use super::kernel::Waker;
use crate::kernel::Wake as _;
use crate::limit::ConnectionLimit;
use crate::metrics::{CloseReason, Metrics, Tally};

/// As an event loop does when a connection ends.
fn release(limit: &ConnectionLimit, waker: &Waker) {
    limit.release();
    if limit.take_awaited() {
        waker.wake();
    }
}

/// All permits are taken. Each is released by a thread, and taken again by the acceptor.
fn take_what_is_released<const PERMITS: usize>() {
    let limit = Arc::new(ConnectionLimit::new(PERMITS));
    let waker = Waker::default();
    let releases = [(); PERMITS].map(|()| {
        limit.acquire();
        let (limit, waker) = (Arc::clone(&limit), waker.clone());
        move || release(&limit, &waker)
    });
    let releases = releases.map(thread::spawn);
    for _ in 0..PERMITS {
        while !limit.has_free() && !limit.await_free() {
            // Loom reports a wait without an end.
            waker.is_readable(true);
            waker.acknowledge();
        }
        limit.acquire();
    }
    for release in releases {
        release.join().expect("it has released");
    }
    assert_eq!(limit.active(), PERMITS);
}

#[test]
fn an_acceptor_that_waits_for_a_permit_is_woken_by_its_release() {
    explore_all(take_what_is_released::<1>);
}

#[test]
fn an_acceptor_that_waits_for_permits_is_woken_by_each_release() {
    explore_most(2, take_what_is_released::<2>);
}

#[test]
fn scrapes_see_each_count_grow_and_in_the_end_all_of_it() {
    explore_all(|| {
        let metrics = Arc::new(Metrics::new(2));
        // The accepting event loop counts connections of the other one too.
        let accepting = Arc::clone(&metrics);
        let accepting = thread::spawn(move || {
            accepting.of(1).connection_served();
            accepting.of(0).batch_answered(&Tally { numbers: [0, 2, 0], ..Tally::default() });
        });
        metrics.of(1).connection_served();
        let other = Arc::clone(&metrics);
        let other = thread::spawn(move || {
            other.of(1).batch_answered(&Tally { numbers: [0, 1, 0], ..Tally::default() });
            other.of(1).connection_closed(CloseReason::Client);
        });
        let scrape = || [metrics.connections(), metrics.numbers(Class::Even)];
        let (first, second) = (scrape(), scrape());
        assert!(first.iter().zip(second).all(|(before, after)| *before <= after), "{first:?} {second:?}");
        for event_loop in [accepting, other] {
            event_loop.join().expect("it has counted");
        }
        assert_eq!(scrape(), [2, 3]);
        assert_eq!((metrics.closed(CloseReason::Client), metrics.of(1).active()), (1, 1));
    });
}
