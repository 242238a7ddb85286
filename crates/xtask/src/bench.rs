//! `cargo xtask bench`: what a request, a connection and an idle server cost, as ratios to a loop that only echoes.
//!
//! All servers are measured in turn, several times over, with the same generator on the other processor: what the
//! machine does besides affects all alike. What counts is the server's processor time, not how long a run took.
//!
//! Then `cliente` is measured with one target and with many, and an honest client beside hostile ones.

mod cases;
mod client;
mod contender;
mod flatness;
mod hostile;
mod load;
mod plot;
pub(crate) mod process;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::command::{build, run as run_command, target, workspace};
use cases::{CASES, WAKE_UPS};
use contender::Contender;
use table::Results;

/// Where a run puts its programs and its results.
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
    let only =
        Arg::new("only").long("only").value_name("PART").value_parser(["servidor", "cliente", "hostile"]);
    let quick = Arg::new("quick").long("quick").action(ArgAction::SetTrue);
    clap::Command::new("bench")
        .about("Measure servidor against a bare epoll loop, redis and memcached, and cliente with many targets")
        .after_help("Writes bench.md and two plots into the folder bench of cargo's target folder. Needs cc, taskset and two processors.")
        .arg(times.value_parser(value_parser!(u8).range(1..)).help("Repetitions of everything"))
        .arg(only.help("Measure one of the daemons, or servidor beside hostile peers"))
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
    let echo = compile("epoll_echo", &bench.folder)?;
    let servidor = build(&["servidor"], "release")?.remove(0);
    let contenders = Contender::all(echo, &servidor);
    let only = matches.get_one::<String>("only").map(String::as_str);
    let mut report = String::new();
    let is_wanted = |part| only.is_none_or(|only| only == part);
    if is_wanted("hostile") {
        report.push_str(&hostile::measure(&bench.folder, &servidor, bench.times, bench.haste)?);
    }
    if is_wanted("cliente") {
        let cliente = build(&["cliente"], "release")?.remove(0);
        let bare = compile("epoll_probe", &bench.folder)?;
        report.push_str(&client::measure(&bench.folder, &bare, &cliente, &servidor)?);
    }
    if is_wanted("servidor") {
        report.push_str(&measure_servers(&bench, &contenders, quick)?);
    }
    fs::write(bench.folder.join("bench.md"), &report)?;
    println!("\n{report}\nIn {}: bench.md and the plots", bench.folder.display());
    Ok(())
}

fn measure_servers(bench: &Bench, contenders: &[Contender], quick: bool) -> anyhow::Result<String> {
    // Waiting for a server to start is busy work: not on its processor.
    let mut ours = CpuSet::new();
    ours.set(contender::GENERATOR);
    sched_setaffinity(None, &ours)?;
    let results = compare(bench, contenders, quick)?;
    let mut report = results.to_string();
    fs::write(bench.folder.join("comparison.svg"), plot::comparison(&results))?;
    if !quick {
        let flatness = flatness::measure(bench, contenders)?;
        report.push_str(&flatness.to_string());
        fs::write(bench.folder.join("flatness.svg"), plot::flatness(&flatness))?;
    }
    Ok(report)
}

fn compile(name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&program);
    cc.arg(workspace().join(format!("crates/xtask/bench/{name}.c")));
    run_command(cc)?;
    Ok(program)
}

fn compare(bench: &Bench, contenders: &[Contender], quick: bool) -> anyhow::Result<Results> {
    let mut results = Results::new(contenders.iter().map(|contender| contender.name).collect());
    for time in 1..=bench.times {
        println!("==> {time} of {}", bench.times);
        let start = |contender: &Contender| contender.start(&bench.folder, contender::Workers::OneProcessor);
        let servers: Vec<_> = contenders.iter().map(start).collect::<anyhow::Result<_>>()?;
        // All are up, and idle while one is measured: the figures of one case are only seconds apart.
        for case in CASES.iter().filter(|case| !quick || case.name != WAKE_UPS) {
            for (contender, server) in contenders.iter().zip(&servers) {
                if contender.answers_unterminated || !case.needs_unterminated {
                    let figure = (case.measure)(bench, contender, server).context(contender.name)?;
                    results.add(case, contender.name, figure);
                }
            }
        }
    }
    Ok(results)
}
