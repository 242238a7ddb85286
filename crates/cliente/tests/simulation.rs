//! A modest number of simulated clients. `cargo xtask simulate` runs many more.
#![cfg(feature = "simulation")]

use std::time::Duration;

use cliente::simulation::{run, run_weeks};

const SEEDS: u64 = 25;

#[test]
fn simulated_clients_do_what_the_contract_says() {
    let mut rounds = 0;
    for seed in 0..SEEDS {
        let report = run(seed, false);
        assert_eq!(report.violation, None, "all of it: cargo xtask simulate --only client --seed {seed}");
        rounds += report.rounds;
    }
    assert!(rounds > 100, "the clients did hardly anything: {rounds} rounds");
}

#[test]
fn a_schedule_of_four_weeks_neither_drifts_nor_bunches() {
    let report = run_weeks(4, 1, 4);
    assert_eq!(report.violation, None);
    assert!(report.simulated >= Duration::from_hours(4 * 7 * 24), "{:?}", report.simulated);
    // One round every two minutes; few ticks are skipped.
    assert!((19_000..=20_161).contains(&report.rounds), "{} rounds", report.rounds);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
    for seed in SEEDS..SEEDS + 4 {
        let [first, again, other] = [seed, seed, seed + 1].map(|seed| run(seed, true).trace);
        assert!(first.len() > 20, "seed {seed}: {} lines", first.len());
        assert_eq!(first, again, "seed {seed}");
        assert_ne!(first, other, "seed {seed}");
    }
}

#[test]
fn keeping_a_trace_changes_nothing() {
    for seed in SEEDS..SEEDS + 4 {
        let [with, without] = [true, false].map(|keeps_trace| run(seed, keeps_trace));
        assert_eq!((with.rounds, with.simulated), (without.rounds, without.simulated), "seed {seed}");
        assert_eq!(with.coverage, without.coverage, "seed {seed}");
    }
}
