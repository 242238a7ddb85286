//! What `cliente` costs with many targets, and how far they disturb each other.
//!
//! All targets are addresses of the loopback network, served by one `servidor`. Each case runs by itself; the figures of a single target
//! at the same interval are the measure of the others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use serde_json::Value;
use testkit::find_program;

use super::process::{cpu_time, resident, rest};

/// How long rounds are measured, after a first interval.
const DURATION: Duration = Duration::from_secs(20);
/// One scrape per this time, while rounds are measured.
const SCRAPES: Duration = Duration::from_secs(4);

/// A number of targets, and how often each is probed.
#[derive(Clone, Copy)]
struct Case {
    targets: u32,
    interval: Duration,
    /// Whether each round is logged: then its round trip is known to the microsecond.
    logs_rounds: bool,
}

/// A right round, by its log line.
struct Round {
    ended: SystemTime,
    /// In microseconds.
    round_trip: u64,
}

/// What a case came to.
struct Figures {
    /// Of right rounds, in microseconds, in ascending order.
    round_trips: Vec<u64>,
    /// The same of those that ended during a scrape.
    while_scraped: Vec<u64>,
    /// The share of one processor.
    processor: f64,
    resident: u64,
    scrapes: Vec<Duration>,
    scrape_bytes: usize,
    counts: BTreeMap<&'static str, f64>,
}

/// Measures everything, and returns a Markdown table.
pub(crate) fn measure(folder: &Path, bare: &Path, cliente: &Path, servidor: &Path) -> anyhow::Result<String> {
    let port = free_address()?.port();
    let _servidor = start_servidor(folder, servidor, port)?;
    let second = Duration::from_secs(1);
    let run = |targets, interval, logs_rounds| {
        println!("==> cliente with {targets} targets");
        run(folder, cliente, port, Case { targets, interval, logs_rounds })
    };
    let one = run(1, second, true)?;
    let thousand = run(1000, second, true)?;
    let plain = run(1000, second, false)?;
    let bare = bare_processor(bare, port)?;
    let many = run(10_000, 10 * second, false)?;
    let mut table = String::from("| `cliente` | |\n|---|---|\n");
    let mut row = |name: &str, figure: String| writeln!(table, "| {name} | {figure} |");
    row("round trip, one target at 1 s: p50, p99", quantiles(&one.round_trips))?;
    row("round trip, 1,000 targets at 1 s: p50, p99", quantiles(&thousand.round_trips))?;
    let ratio = quantile(&thousand.round_trips, 0.5) / quantile(&one.round_trips, 0.5);
    row("ratio of the medians", format!("{ratio:.2}"))?;
    row("the same of rounds during a scrape", quantiles(&thousand.while_scraped))?;
    row("1,000 targets at 1 s: processor time", format!("{:.1} % of one", plain.processor * 100.0))?;
    row("the same rounds by a bare epoll loop", format!("{:.1} % of one", bare * 100.0))?;
    row("ratio of the two", format!("{:.2}", plain.processor / bare))?;
    row("1,000 targets at 1 s: resident memory", format!("{:.1} MiB", mebibytes(plain.resident)))?;
    let scrape = plain.scrapes.iter().max().context("it was scraped")?;
    let kib = plain.scrape_bytes / 1024;
    row("1,000 targets at 1 s: longest scrape", format!("{} ms, {kib} KiB", scrape.as_millis()))?;
    for (name, figures) in [("1,000 targets at 1 s", &plain), ("10,000 targets at 10 s", &many)] {
        let counts: Vec<String> =
            figures.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        row(&format!("{name}: rounds"), counts.join(", "))?;
    }
    if let Some(exporter) = find_program("prometheus-blackbox-exporter") {
        let (per_probe, resident) = blackbox(folder, &exporter, port)?;
        let ours = plain.processor * DURATION.as_secs_f64() / plain.counts["right"].max(1.0);
        row("processor time per round", format!("{:.0} µs", ours * 1e6))?;
        let per_probe = per_probe.as_micros();
        row(
            "blackbox_exporter: per probe, resident",
            format!("{per_probe} µs, {:.1} MiB", mebibytes(resident)),
        )?;
    }
    Ok(table)
}

fn run(folder: &Path, cliente: &Path, port: u16, case: Case) -> anyhow::Result<Figures> {
    let settings = folder.join("cliente.toml");
    let targets: Vec<String> =
        (0..case.targets).map(|number| format!("\"{}\"", address(number, port))).collect();
    let lines = if case.logs_rounds { 1_000_000 } else { 50 };
    let text = format!(
        "target = [{}]\ninterval = \"{}s\"\nlog-events-per-second = {lines}\n",
        targets.join(", "),
        case.interval.as_secs()
    );
    fs::write(&settings, text)?;
    let metrics = free_address()?;
    let log = folder.join("cliente.log");
    let mut command = Command::new(cliente);
    command
        .args(["--log-format", "json", "--metrics-listen", &metrics.to_string(), "--config"])
        .arg(&settings);
    command
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let daemon = Running(command.spawn().context("cannot start cliente")?);
    rest(case.interval + Duration::from_secs(1));
    let id = daemon.0.id();
    let before = (cpu_time(id)?, counts(&scrape(metrics)?));
    let (mut scrapes, mut windows, mut scrape_bytes) = (Vec::new(), Vec::new(), 0);
    let begun = Instant::now();
    while begun.elapsed() < DURATION {
        rest(SCRAPES);
        let (asked, asked_at) = (Instant::now(), SystemTime::now());
        scrape_bytes = scrape(metrics)?.len();
        scrapes.push(asked.elapsed());
        windows.push(asked_at..SystemTime::now());
    }
    let elapsed = begun.elapsed();
    let processor = cpu_time(id)?.saturating_sub(before.0).as_secs_f64() / elapsed.as_secs_f64();
    let resident = resident(id)?;
    let after = counts(&scrape(metrics)?);
    drop(daemon);
    let counts = after.into_iter().map(|(name, count)| (name, count - before.1[name])).collect();
    let rounds = rounds(&log)?;
    let sorted = |is_counted: &dyn Fn(&Round) -> bool| {
        let mut round_trips: Vec<u64> =
            rounds.iter().filter(|round| is_counted(round)).map(|round| round.round_trip).collect();
        round_trips.sort_unstable();
        round_trips
    };
    let round_trips = sorted(&|_| true);
    let while_scraped = sorted(&|round| windows.iter().any(|window| window.contains(&round.ended)));
    Ok(Figures { round_trips, while_scraped, processor, resident, scrapes, scrape_bytes, counts })
}

/// One server for all addresses of the loopback network.
fn start_servidor(folder: &Path, program: &Path, port: u16) -> anyhow::Result<Running> {
    let listen = format!("0.0.0.0:{port}");
    let mut command = Command::new(program);
    command.args(["--listen", &listen, "--allow", "127.0.0.0/8", "--max-connections", "10000"]);
    command.args(["--metrics-listen", "off"]).env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("servidor.log"))?);
    Ok(Running(command.spawn().context("cannot start servidor")?))
}

/// The address of a target: any of the loopback network leads to the same server.
fn address(number: u32, port: u16) -> SocketAddr {
    let [_, _, high, low] = (number + 1).to_be_bytes();
    SocketAddr::from(([127, 0, high, low], port))
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A program that is killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // If it has ended by itself, its figures are missing, and that is an error already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(address: SocketAddr) -> anyhow::Result<String> {
    Ok(testkit::get(address, "/metrics")?)
}

/// The sums over all targets.
fn counts(metrics: &str) -> BTreeMap<&'static str, f64> {
    let sum = |name: &str| -> f64 {
        let samples = metrics.lines().filter(|line| line.starts_with(name));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    BTreeMap::from([
        ("right", sum("cliente_numbers_total{")),
        ("failed", sum("cliente_round_failures_total{")),
        ("disturbed", sum("cliente_rounds_disturbed_total{")),
        ("skipped", sum("cliente_rounds_skipped_total{")),
    ])
}

fn rounds(log: &Path) -> anyhow::Result<Vec<Round>> {
    let text = fs::read_to_string(log)?;
    let lines = text.lines().filter(|line| line.contains(r#""message":"round completed""#));
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let ended = humantime::parse_rfc3339(line["timestamp"].as_str().context("a timestamp")?)?;
            Ok(Round { ended, round_trip: line["round_trip_us"].as_u64().context("a round trip")? })
        })
        .collect()
}

/// The share of a processor that a loop in C needs for the rounds of 1,000 targets at 1 s.
fn bare_processor(program: &Path, port: u16) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    command.args([&port.to_string(), "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut probe = Running(command.spawn().context("cannot start the bare loop")?);
    rest(Duration::from_secs(2));
    let (begun, before) = (Instant::now(), cpu_time(probe.0.id())?);
    rest(DURATION);
    let used = cpu_time(probe.0.id())?.saturating_sub(before);
    let elapsed = begun.elapsed();
    anyhow::ensure!(probe.0.try_wait()?.is_none(), "the bare loop has ended");
    Ok(used.as_secs_f64() / elapsed.as_secs_f64())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small"
)]
fn quantile(sorted: &[u64], quantile: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1)) as f64 * quantile;
    sorted.get(index.round() as usize).map_or(f64::NAN, |&value| value as f64)
}

fn quantiles(round_trips: &[u64]) -> String {
    let [p50, p99] = [0.5, 0.99].map(|part| quantile(round_trips, part));
    format!("{p50:.0} µs, {p99:.0} µs ({} rounds)", round_trips.len())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The same question by Prometheus' own prober: processor time per probe, and resident memory.
fn blackbox(folder: &Path, exporter: &Path, port: u16) -> anyhow::Result<(Duration, u64)> {
    const PROBES: u32 = 1000;
    let config = folder.join("blackbox.yml");
    fs::write(
        &config,
        "modules:\n  servidor:\n    prober: tcp\n    timeout: 3s\n    tcp:\n      query_response:\n      \
         - send: \"7\"\n      - expect: \"MPAR\"\n",
    )?;
    let address = free_address()?;
    let mut command = Command::new(exporter);
    command.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={address}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("blackbox.log"))?);
    let exporter = Running(command.spawn().context("cannot start blackbox_exporter")?);
    let probe = format!("/probe?module=servidor&target=127.0.0.1:{port}");
    let begun = Instant::now();
    while testkit::get(address, &probe).is_err() {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "blackbox_exporter does not answer");
        rest(Duration::from_millis(100));
    }
    let before = cpu_time(exporter.0.id())?;
    for _ in 0..PROBES {
        let body = testkit::get(address, &probe)?;
        anyhow::ensure!(body.contains("\nprobe_success 1"), "a probe failed: {body}");
    }
    Ok((cpu_time(exporter.0.id())?.saturating_sub(before) / PROBES, resident(exporter.0.id())?))
}
