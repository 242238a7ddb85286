//! Simulates many seeds, or one seed with its trace. `cargo xtask simulate` builds and runs it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cliente::simulation::{Coverage, Report, run};

const USAGE: &str = "simulate seeds COUNT | simulate seed SEED";
/// How many lines of a trace are shown if only its end matters.
const LAST_LINES: usize = 60;
/// This many seeds must reach every event.
const SEEDS_FOR_ALL: u64 = 1000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["seeds", count] => count.parse().map_or_else(|_| misused(), simulate_many),
        ["seed", seed] => seed.parse().map_or_else(|_| misused(), |seed| conclude(seed, usize::MAX)),
        _ => misused(),
    }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// The sums over all threads.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    rounds: u64,
    simulated: Duration,
    failed: Option<u64>,
}

fn simulate_many(count: u64) -> ExitCode {
    let started = Instant::now();
    let total = Mutex::<Total>::default();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| simulate_some(&next, count, &total));
        }
    });
    let Total { coverage, rounds, simulated, failed } =
        total.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = failed {
        return conclude(seed, LAST_LINES);
    }
    coverage.counts().for_each(|(event, count)| println!("  {event:<40}{count:>10}"));
    println!(
        "{count} seeds, {rounds} rounds and {} simulated hours in {:.1} s",
        simulated.as_secs() / 3600,
        started.elapsed().as_secs_f64(),
    );
    let missing: Vec<&str> = coverage.missing().collect();
    if count >= SEEDS_FOR_ALL && !missing.is_empty() {
        println!("never occurred: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs seeds until there are none left, or one has failed. All seeds before that one have been started by then.
fn simulate_some(next: &AtomicU64, count: u64, total: &Mutex<Total>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= count {
            return;
        }
        let Report { violation, coverage, rounds, simulated, .. } = run(seed, false);
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.coverage.add(&coverage);
        total.rounds += rounds;
        total.simulated += simulated;
        if violation.is_some() {
            total.failed = Some(total.failed.map_or(seed, |other| other.min(seed)));
            next.store(count, Ordering::Relaxed);
        }
    }
}

/// Runs a seed with its trace, and prints the result.
fn conclude(seed: u64, most_lines: usize) -> ExitCode {
    let Report { violation, trace, .. } = run(seed, true);
    let left_out = trace.len().saturating_sub(most_lines);
    if left_out > 0 {
        println!("… {left_out} lines before");
    }
    trace[left_out..].iter().for_each(|line| println!("{line}"));
    match violation {
        None => {
            println!("seed {seed}: as the contract says");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}");
            println!("all of it: cargo xtask simulate --only client --seed {seed}");
            ExitCode::FAILURE
        }
    }
}
