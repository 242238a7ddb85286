//! Runs the simulation of many seeds, or one of them with its trace: `cargo xtask simulate` calls it.

use servidor::simulation::{Input, run};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let from: u64 = arguments[1].parse().unwrap();
    let count: u64 = arguments[2].parse().unwrap();
    let started = std::time::Instant::now();
    let (mut calls, mut coverage) = (0, servidor::simulation::Coverage::default());
    for seed in from..from + count {
        let report = run(Input::Seed(seed), count == 1);
        calls += report.calls;
        coverage.add(&report.coverage);
        if let Some(violation) = report.violation {
            for line in report.trace {
                println!("{line}");
            }
            println!("seed {seed}: {violation}");
            if arguments.len() < 4 {
                break;
            }
        }
    }
    for (_, name, count) in coverage.groups() {
        println!("{count:>9} {name}");
    }
    println!("{calls} calls in {:?}", started.elapsed());
}
