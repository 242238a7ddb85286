//! `cargo xtask bench`: what a request, a connection and a moment of rest cost, as ratios to a loop that only echoes.
//!
//! All servers are measured in turn, several times over, with the same generator on the other processor: what the
//! machine does beside it hits all alike. What counts is the server's processor time, not how long a run took.

mod cases;
mod contender;
mod flatness;
mod load;
mod plot;
mod process;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::command::{build, run as run_command, target, workspace};
use cases::Case;
use contender::Contender;
use table::Results;

/// Where a run puts its programs and what it found.
struct Bench {
    folder: PathBuf,
    load: PathBuf,
    /// Repetitions.
    times: usize,
    /// Divides the number of requests.
    haste: u32,
}

pub(crate) fn command() -> clap::Command {
    let times = Arg::new("times").long("times").value_name("N").default_value("5");
    let quick = Arg::new("quick").long("quick").action(ArgAction::SetTrue);
    clap::Command::new("bench")
        .about("Measure servidor against a bare epoll loop, redis and memcached")
        .after_help("Writes bench.md and two plots into target/bench. Needs cc, taskset and two processors.")
        .arg(times.value_parser(value_parser!(u8).range(1..)).help("Repetitions of everything"))
        .arg(quick.help("Fewer requests, no pause to count wake-ups, and no table of flatness"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let quick = matches.get_flag("quick");
    let times = *matches.get_one::<u8>("times").context("it has a default")?;
    let processors = std::thread::available_parallelism()?.get();
    anyhow::ensure!(processors >= 2, "the server and the generator need a processor each");
    let folder = target()?.join("bench");
    fs::create_dir_all(&folder)?;
    let bench = Bench {
        load: compile("epoll_load", &folder)?,
        times: times.into(),
        haste: if quick { 10 } else { 1 },
        folder,
    };
    let contenders = contenders(&bench)?;
    // Whoever waits for a server to start knocks all the time: not on its processor.
    let mut ours = CpuSet::new();
    ours.set(contender::GENERATOR);
    sched_setaffinity(None, &ours)?;
    let results = compare(&bench, &contenders, quick)?;
    let mut report = results.to_string();
    fs::write(bench.folder.join("comparison.svg"), plot::comparison(&results))?;
    if !quick {
        let flatness = flatness::measure(&bench, &contenders)?;
        report.push_str(&flatness.to_string());
        fs::write(bench.folder.join("flatness.svg"), plot::flatness(&flatness))?;
    }
    fs::write(bench.folder.join("bench.md"), &report)?;
    println!("\n{report}\nIn {}: bench.md and the plots", bench.folder.display());
    Ok(())
}

fn compile(name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&program);
    cc.arg(workspace().join(format!("crates/xtask/bench/{name}.c")));
    run_command(cc)?;
    Ok(program)
}

/// The bare loop first, then who is installed, then ours.
fn contenders(bench: &Bench) -> anyhow::Result<Vec<Contender>> {
    let echo = compile("epoll_echo", &bench.folder)?;
    let servidor = build(&["servidor"], "release")?.remove(0);
    let others = [Contender::redis(), Contender::memcached()].into_iter().flatten();
    let ours = [Contender::silent_servidor(servidor.clone()), Contender::servidor(servidor)];
    Ok([Contender::bare(echo)].into_iter().chain(others).chain(ours).collect())
}

fn compare(bench: &Bench, contenders: &[Contender], quick: bool) -> anyhow::Result<Results> {
    let mut results = Results::new(contenders.iter().map(|contender| contender.name).collect());
    let cases: Vec<Case> =
        Case::MEASURED.into_iter().filter(|case| !quick || *case != Case::WakeUps).collect();
    for time in 1..=bench.times {
        println!("==> {time} of {}", bench.times);
        let start = |contender: &Contender| contender.start(&bench.folder, contender::Workers::OneProcessor);
        let servers: Vec<_> = contenders.iter().map(start).collect::<anyhow::Result<_>>()?;
        // All are up, and rest while one is measured: the figures of one case are but seconds apart.
        for case in &cases {
            for (contender, server) in
                contenders.iter().zip(&servers).filter(|(contender, _)| case.applies_to(contender))
            {
                let figure = case.measure(bench, contender, server).with_context(|| contender.name)?;
                results.add(*case, contender.name, figure);
            }
        }
    }
    Ok(results)
}
