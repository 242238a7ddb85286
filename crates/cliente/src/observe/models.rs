//! What the thread of the rounds shares with scrapes and the page, in every order that loom finds: `cargo xtask loom`.

use std::sync::Arc;
use std::time::Duration;

use daemon::metrics::histogram::Bounds;
use daemon::supervisor::Supervised as _;
use daemon::sync::{explore_all, explore_most, thread};
use protocol::Number;

use super::metrics::Metrics;
use super::totals::Totals;
use crate::round::Outcome;
use crate::round::failure::Failure;
use crate::settings::Detail;
use crate::targets::labels::{Labelled, Labels};
use crate::targets::target::Target;

fn totals() -> Arc<Totals> {
    Arc::new(Totals::new(0, Metrics::new(Detail::Full, Bounds::new([]))))
}

fn target() -> Target {
    "a:1".parse().expect("a target")
}

fn outcome(is_right: bool) -> Outcome {
    let time = Duration::from_millis(1);
    let result = if is_right { Ok(time) } else { Err(Failure::Closed) };
    Outcome { resolve: None, address: None, connect: None, result, elapsed: time, disturbed: None }
}

/// The sum of the samples of a metric.
fn sum(text: &str, metric: &str) -> u64 {
    let samples = text.lines().filter(|line| line.split('{').next() == Some(metric));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn as_many_rounds_have_begun_as_have_ended_or_are_under_way() {
    explore_all(|| {
        let totals = totals();
        let rounds = Arc::clone(&totals);
        let rounds = thread::spawn(move || {
            for is_right in [true, false] {
                rounds.begun();
                rounds.ended(&outcome(is_right));
            }
            rounds.begun();
        });
        // It would underflow.
        assert!(totals.under_way() <= 3);
        rounds.join().expect("they were made");
        assert_eq!(totals.under_way(), 1);
    });
}

#[test]
fn scrapes_see_the_counts_of_a_target_grow_even_when_it_is_dropped_and_put_back() {
    explore_most(2, || {
        let totals = totals();
        let targets = [Labelled { target: target(), labels: Arc::new(Labels::default()) }];
        let metrics = totals.metrics.follow(&targets).remove(0);
        let thread = Arc::clone(&totals);
        let rounds = thread::spawn(move || {
            let number = Number::parse(b"2").expect("a number");
            metrics.begun();
            thread.metrics.follow(&[]);
            let anew = thread.metrics.follow(&targets).remove(0);
            metrics.finished(&number, &outcome(true));
            anew.begun();
            anew.finished(&number, &outcome(false));
        });
        let names = ["cliente_rounds_total", "cliente_numbers_total", "cliente_round_failures_total"];
        let scrape = || {
            let mut text = String::new();
            totals.own_metrics(&mut text);
            assert_eq!(text.matches("cliente_up{").count(), 1, "{text}");
            names.map(|name| sum(&text, name))
        };
        let during = scrape();
        assert!(during.iter().zip([2, 1, 1]).all(|(count, end)| *count <= end), "{during:?}");
        rounds.join().expect("they were made");
        assert_eq!(scrape(), [2, 1, 1]);
    });
}

#[test]
fn a_target_is_shown_until_it_is_retired_and_not_any_longer() {
    explore_all(|| {
        let totals = totals();
        let probed = totals.history.of(&target());
        let thread = Arc::clone(&totals);
        let rounds = thread::spawn(move || {
            probed.add(&outcome(true), thread.history.capacity());
            thread.history.forget(&probed);
        });
        // As the page and the status do.
        let shown = totals.history.all();
        assert!(shown.iter().all(|rounds| rounds.past().len() <= 1));
        rounds.join().expect("they were made");
        drop(shown);
        assert!(totals.history.all().is_empty());
    });
}
