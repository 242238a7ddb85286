//! What threads share, in every order that loom finds: `cargo xtask loom`.

use std::sync::Arc;
use std::time::Duration;

use crate::logging::Budget;
use crate::metrics::histogram::{Bounds, Samples};
use crate::sync::{explore_all, explore_most, thread};

#[test]
fn each_event_is_logged_or_counted_as_suppressed() {
    explore_all(|| {
        let budget = Arc::new(Budget::new("event", 1));
        let threads = [(); 2].map(|()| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.take())
        });
        let suppressed = budget.refill(1);
        let logged = threads.map(|thread| thread.join().expect("it ends"));
        let logged = logged.into_iter().filter(|logged| *logged).count() as u64;
        assert_eq!(logged + suppressed + budget.refill(1), 2);
        assert!(logged > 0, "there was enough for one");
    });
}

#[test]
fn no_sample_is_lost() {
    explore_most(2, || {
        let samples = Arc::new(Samples::default());
        let threads = [0, 1].map(|bucket| {
            let samples = Arc::clone(&samples);
            thread::spawn(move || samples.add(bucket, Duration::from_secs(1)))
        });
        let counts = || {
            let mut text = String::new();
            Bounds::new([1]).write(&mut text, "time", "", std::iter::once(&*samples));
            let of = |name| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
            [of("time_sum "), of("time_count ")].map(|count| count.expect("a count"))
        };
        let (first, second) = (counts(), counts());
        assert!(first.iter().zip(second).all(|(before, after)| *before <= after), "{first:?} {second:?}");
        for thread in threads {
            thread.join().expect("it ends");
        }
        assert_eq!(counts(), [2, 2]);
    });
}
