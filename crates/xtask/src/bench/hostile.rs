//! How long an honest client waits beside hostile peers, as ratios to its waits alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testkit::hostile::{Honest, Mix};

use super::client::{Running, free_address};
use super::process::{await_room_for_connections, machine, rest};
use super::table::Spread;

/// How long the client asks beside each kind of peers.
const DURATION: Duration = Duration::from_secs(10);
/// Between two rounds of the client.
const PAUSE: Duration = Duration::from_millis(1);
const FIGURES: [&str; 6] = ["fresh: p50", "p99", "longest", "kept: p50", "p99", "longest"];

/// p50, p99 and the longest wait of fresh connections, then of a kept one, in microseconds.
type Waits = [f64; FIGURES.len()];

/// Measures the client alone and beside each kind of hostile peers, and returns a Markdown table.
pub(crate) fn measure(folder: &Path, servidor: &Path, times: usize, haste: u32) -> anyhow::Result<String> {
    let mut alone = Vec::new();
    let mut ratios: BTreeMap<usize, Vec<Waits>> = BTreeMap::new();
    let mut acts: BTreeMap<usize, f64> = BTreeMap::new();
    for time in 1..=times {
        println!("==> {time} of {times}: beside hostile peers");
        let (base, _) = ask(folder, servidor, None, DURATION / haste)?;
        alone.push(base);
        for (index, mix) in Mix::ALL.into_iter().enumerate() {
            let (waits, rate) = ask(folder, servidor, Some(mix), DURATION / haste)?;
            let ratio = std::array::from_fn(|figure| waits[figure] / base[figure]);
            ratios.entry(index).or_default().push(ratio);
            acts.insert(index, rate);
        }
    }
    let mut table = format!("{}; {times} repetitions, median (least–greatest).\n\n", machine());
    writeln!(table, "| an honest client | {} |\n|---|{}", FIGURES.join(" | "), "---|".repeat(FIGURES.len()))?;
    writeln!(table, "| alone, in µs | {} |", cells(&alone)?)?;
    for (index, mix) in Mix::ALL.into_iter().enumerate() {
        let rate = acts[&index];
        writeln!(table, "| beside {} ({rate:.0} acts a second) | {} |", mix.name(), cells(&ratios[&index])?)?;
    }
    Ok(table)
}

fn cells(repetitions: &[Waits]) -> anyhow::Result<String> {
    let spread = |figure: usize| Spread::of(repetitions.iter().map(|waits| waits[figure]));
    let cells: Option<Vec<String>> =
        (0..FIGURES.len()).map(|figure| Some(spread(figure)?.to_string())).collect();
    Ok(cells.context("there are repetitions")?.join(" | "))
}

/// Asks a new server for a while. Returns the waits, and how often the hostile peers acted in a second.
fn ask(folder: &Path, servidor: &Path, mix: Option<Mix>, duration: Duration) -> anyhow::Result<(Waits, f64)> {
    await_room_for_connections()?;
    let (service, http) = (free_address()?, free_address()?);
    let _servidor = start(folder, servidor, service, http, mix)?;
    let mut honest = Honest::connect(service);
    let hostile = mix.map(|mix| mix.begin(service, http));
    let mut waits = [Vec::new(), Vec::new()];
    let begun = Instant::now();
    while begun.elapsed() < duration {
        for (waits, wait) in waits.iter_mut().zip(honest.rounds()) {
            waits.push(wait.as_secs_f64() * 1e6);
        }
        rest(PAUSE);
    }
    let acts = hostile.map_or(0, |hostile| hostile.acts());
    let [fresh, kept] = waits.map(|mut waits| {
        waits.sort_by(f64::total_cmp);
        [waits[waits.len() / 2], waits[waits.len() * 99 / 100], waits[waits.len() - 1]]
    });
    let waits = [fresh[0], fresh[1], fresh[2], kept[0], kept[1], kept[2]];
    Ok((waits, f64::from(u32::try_from(acts)?) / duration.as_secs_f64()))
}

fn start(
    folder: &Path,
    program: &Path,
    service: SocketAddr,
    http: SocketAddr,
    mix: Option<Mix>,
) -> anyhow::Result<Running> {
    let places = mix.map_or(2, Mix::places).to_string();
    let mut command = Command::new(program);
    command.args(["--listen", &service.to_string(), "--metrics-listen", &http.to_string()]);
    command.args(["--allow", "127.0.0.1/32", "--max-connections", &places]);
    command.env_remove("LD_LIBRARY_PATH").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(folder.join("servidor.log"))?);
    let running = Running(command.spawn().context("cannot start servidor")?);
    let begun = Instant::now();
    while testkit::get(http, "/-/ready").is_err() {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "servidor does not start");
        rest(Duration::from_millis(10));
    }
    Ok(running)
}
