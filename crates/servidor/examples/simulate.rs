//! Simulates many seeds, or one seed with its trace. `cargo xtask simulate` builds and runs it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use servidor::simulation::{Coverage, Input, Report, run};

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
    calls: u64,
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
    let Total { coverage, calls, simulated, failed } =
        total.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = failed {
        return conclude(seed, LAST_LINES);
    }
    let elapsed = started.elapsed();
    let milliseconds =
        u64::try_from(elapsed.as_millis()).map_or(u64::MAX, |milliseconds| milliseconds.max(1));
    let per_second = |total: u64| total * 1000 / milliseconds;
    print_coverage(&coverage);
    println!(
        "{count} seeds, {calls} system calls and {} simulated seconds in {:.1} s: {} seeds and {} calls a second",
        simulated.as_secs(),
        elapsed.as_secs_f64(),
        per_second(count),
        per_second(calls)
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
        let Report { violation, coverage, calls, simulated, .. } = run(Input::Seed(seed), false);
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.coverage.add(&coverage);
        total.calls += calls;
        total.simulated += simulated;
        if violation.is_some() {
            total.failed = Some(total.failed.map_or(seed, |other| other.min(seed)));
            next.store(count, Ordering::Relaxed);
        }
    }
}

/// Runs a seed with its trace, and prints the result.
fn conclude(seed: u64, most_lines: usize) -> ExitCode {
    let Report { violation, trace, .. } = run(Input::Seed(seed), true);
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
            println!("all of it: cargo xtask simulate --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn print_coverage(coverage: &Coverage) {
    let mut last = "";
    for (group, name, count) in coverage.groups() {
        if group != last {
            println!("{group}");
        }
        last = group;
        let name =
            name.rsplit_once(": ").filter(|(before, _)| *before == group).map_or(name, |(_, name)| name);
        println!("  {name:<34}{count:>10}");
    }
}
