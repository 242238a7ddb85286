//! A modest number of simulated servers. `cargo xtask simulate` runs many more.
#![cfg(feature = "simulation")]

use servidor::simulation::{Input, run};

const SEEDS: u64 = 30;

#[test]
fn simulated_servers_do_what_the_contract_says() {
    // `cargo xtask mutants` asks for more where these have found nothing.
    let more = std::env::var("SIMULATED_SEEDS").ok().map(|seeds| seeds.parse().expect("a number"));
    for seed in 0..more.unwrap_or(SEEDS) {
        let report = run(Input::Seed(seed), false);
        assert_eq!(report.violation, None, "all of it: cargo xtask simulate --seed {seed}");
        assert!(report.calls > 0, "seed {seed}: the server did nothing");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
    let trace = |seed| run(Input::Seed(seed), true).trace;
    for seed in SEEDS..SEEDS + 4 {
        let first = trace(seed);
        assert!(first.len() > 100, "seed {seed}: {} lines", first.len());
        assert_eq!(first, trace(seed), "seed {seed}");
        assert_ne!(first, trace(seed + 1), "seed {seed}");
    }
}

#[test]
fn keeping_a_trace_changes_nothing() {
    for seed in SEEDS..SEEDS + 4 {
        let [with, without] = [true, false].map(|keeps_trace| run(Input::Seed(seed), keeps_trace));
        assert_eq!((with.calls, with.simulated), (without.calls, without.simulated), "seed {seed}");
        assert_eq!(with.coverage, without.coverage, "seed {seed}");
    }
}

#[test]
fn bytes_decide_as_seeds_do_and_may_run_out() {
    let counted: Vec<u8> = (0..=u8::MAX).cycle().take(3000).collect();
    for bytes in [&[][..], &[0; 10], &[0xff; 500], &counted] {
        for input in [Input::Bytes(bytes), Input::FewPeers(bytes)] {
            let report = run(input, false);
            assert_eq!(report.violation, None, "{input:?}");
        }
    }
}
