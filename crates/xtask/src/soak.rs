//! `cargo xtask soak`: a server and three clients under load, reloads, restarts and faults. Fails if one of them needs more and
//! more, or if the server and the clients count differently.
//!
//! One cycle after the other: a reload, then load and a fault at the same time, then a calm, in which all must be right. In the
//! first third the server and a client are restarted as well. Then all four live on, and what they hold is compared: see `growth`.

mod faults;
mod growth;
mod ledger;
mod process;
mod settings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Add as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, value_parser};
use testkit::{Signal, request, wait_until};

use crate::command::{build, target};
use faults::{FAULTS, World};
use growth::Held;
use ledger::Ledger;
use process::Process;
use settings::{CLIENTS, TARGETS, configure, free_port, max_connections};

/// The client that is restarted.
const RESTARTED: usize = 2;
/// Load beside the faults, by turns.
const LOADS: [&str; 3] = [
    "--duration 5s --connections 20 --rate 2000",
    "--duration 5s --connections 10 --rate 500 --connection fresh",
    "--duration 5s --connections 5 --rate 3000 --pipeline 16 --threads 2",
];
/// Load in the calm.
const CALM: &str = "-n 1000 --connections 3 --rate 500";
/// At most so many requests are under way in a calm: the targets of the clients, and the connections of the load.
const UNDER_WAY: u64 = TARGETS + 3;

pub(crate) fn command() -> clap::Command {
    let minutes = Arg::new("minutes").long("minutes").value_name("N").default_value("2");
    let profile = Arg::new("profile").long("profile").value_name("NAME").default_value("release");
    clap::Command::new("soak")
        .about("Run a server and three clients under load and faults, and see whether they grow or count differently")
        .arg(minutes.value_parser(value_parser!(u32).range(1..)).help("How long"))
        .arg(profile.help("The profile that cargo builds with"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let minutes = *matches.get_one::<u32>("minutes").context("it has a default")?;
    let profile = matches.get_one::<String>("profile").context("it has a default")?;
    let duration = Duration::from_mins(minutes.into());
    let mut soak = Soak::start(build(&["servidor", "cliente"], profile)?)?;
    let (start, mut watch, mut shown) = (Instant::now(), None, 0);
    soak.print_head();
    while start.elapsed() < duration || watch.is_none() {
        let is_to_restart = start.elapsed() < duration / 3;
        if !is_to_restart && watch.is_none() {
            watch = Some(Watch::start(soak.processes().map(Process::id).collect()));
        }
        soak.cycle(is_to_restart)?;
        let minute = start.elapsed().as_secs() / 60;
        if minute > shown {
            shown = minute;
            soak.print_line(minute)?;
        }
    }
    let held = watch.context("the loop above has set it")?.end()?;
    soak.end(held)
}

/// Looks at the processes meanwhile.
struct Watch {
    is_over: Arc<AtomicBool>,
    watcher: JoinHandle<Vec<Held>>,
}

impl Watch {
    fn start(ids: Vec<u32>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        Self { is_over, watcher: thread::spawn(move || Held::watch(&ids, &over)) }
    }

    fn end(self) -> anyhow::Result<Vec<Held>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.watcher.join().ok().context("the watcher panicked")
    }
}

struct Soak {
    folder: PathBuf,
    /// `servidor` and `cliente`.
    programs: [PathBuf; 2],
    port: u16,
    server: Process,
    /// As in [`CLIENTS`].
    clients: Vec<Process>,
    /// Of the processes that have ended.
    past: Ledger,
    cycles: usize,
    faults: BTreeMap<&'static str, u64>,
}

impl Soak {
    fn start(programs: Vec<PathBuf>) -> anyhow::Result<Self> {
        let programs = <[PathBuf; 2]>::try_from(programs).ok().context("two programs were built")?;
        let (folder, port) = (target()?.join("soak"), free_port()?);
        fs::create_dir_all(&folder)?;
        configure(&folder, port, 0)?;
        let server = Process::start("server", &programs[0], &folder.join("server.toml"))?;
        let start = |name| Process::start(name, &programs[1], &folder.join(format!("{name}.toml")));
        let clients = CLIENTS.into_iter().map(start).collect::<anyhow::Result<_>>()?;
        let (past, faults) = (Ledger::default(), BTreeMap::new());
        Ok(Self { folder, programs, port, server, clients, past, cycles: 0, faults })
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.server].into_iter().chain(&self.clients)
    }

    fn cycle(&mut self, is_to_restart: bool) -> anyhow::Result<()> {
        self.cycles += 1;
        self.reload()?;
        let load = self.load(LOADS[self.cycles % LOADS.len()])?;
        let (name, fault) = FAULTS[self.cycles % FAULTS.len()];
        let address = self.address();
        fault(&World { server: &self.server, clients: &self.clients, address });
        *self.faults.entry(name).or_default() += 1;
        if is_to_restart {
            self.restart()?;
        }
        self.past += report(load)?;
        self.server.check()?;
        self.clients.iter_mut().try_for_each(Process::check)?;
        self.calm()
    }

    /// Other settings for all.
    fn reload(&mut self) -> anyhow::Result<()> {
        configure(&self.folder, self.port, self.cycles)?;
        for process in self.processes() {
            let reloads = process.lines("reloaded");
            process.signal(Signal::HUP);
            process.wait_for("reloaded", reloads + 1)?;
        }
        // The event loops take the settings in a moment later.
        wait_until("the new limit is in force", || {
            self.server.scrape().sum("servidor_connections_limit", &[]) == max_connections(self.cycles)
        });
        Ok(())
    }

    /// Restarts the server and a client by turns, without anyone else noticing more than a refusal.
    fn restart(&mut self) -> anyhow::Result<()> {
        let (name, program, slot) = if self.cycles.is_multiple_of(2) {
            ("server", &self.programs[0], &mut self.server)
        } else {
            (CLIENTS[RESTARTED], &self.programs[1], &mut self.clients[RESTARTED])
        };
        let before = slot.scrape();
        let stopped = slot.stop()?;
        self.past += if name == "server" {
            Ledger::of_stopped_server(&stopped)
        } else {
            Ledger::of_stopped_client(&before, &stopped)
        };
        *slot = Process::start(name, program, &self.folder.join(format!("{name}.toml")))?;
        *self.faults.entry("restart").or_default() += 1;
        Ok(())
    }

    /// Waits until all is well, and checks that the two ledgers agree, both since the start and during the calm.
    fn calm(&mut self) -> anyhow::Result<()> {
        for process in self.processes() {
            let is_ready = || request(process.http, "GET", "/-/ready").status == 200;
            wait_until(&format!("{} is ready", process.name), is_ready);
        }
        wait_until("all rounds go right", || {
            let up = self.clients.iter().map(|client| client.scrape().sum("cliente_up", &[]));
            up.sum::<u64>() == TARGETS
        });
        let before = self.ledger();
        let load = report(self.load(CALM)?)?;
        ensure!(load.right == 1000, "in the calm: {load:?}");
        self.past += load;
        let after = self.ledger();
        let calm = [after[0].since(&before[1]), after[1].since(&before[0])];
        ledger::compare(&calm, UNDER_WAY).context("in the calm")?;
        ledger::compare(&after, UNDER_WAY).context("since the start")?;
        Ok(())
    }

    /// The counts since the start: of the clients, and those of the server right before and right after them.
    fn ledger(&self) -> [Ledger; 2] {
        let before = Ledger::of_server(&self.server.scrape());
        let clients = self.clients.iter().map(|client| Ledger::of_client(&client.scrape()));
        let clients = clients.fold(self.past, Ledger::add);
        [before, Ledger::of_server(&self.server.scrape())].map(|server| server + clients)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Starts `cliente bench`, which ends by itself.
    fn load(&self, flags: &str) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.programs[1]);
        command.args(["bench", "--json", "--warmup", "0s", "--target", &self.address().to_string()]);
        command.args(flags.split(' ')).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("cannot start cliente bench")
    }

    fn print_head(&self) {
        println!(
            "Each minute: MiB/descriptors/threads of each process, requests answered, right and unsure, and the difference of the ledgers.\n"
        );
        let names =
            self.processes().fold(String::new(), |names, process| format!("{names}{:>14}", process.name));
        println!(
            "{:>6}{names}{:>10}{:>10}{:>8}{:>6}  faults",
            "minute", "answered", "right", "unsure", "diff."
        );
    }

    fn print_line(&self, minute: u64) -> anyhow::Result<()> {
        let mut line = format!("{minute:>6}");
        for process in self.processes() {
            let [bytes, descriptors, threads] = growth::look(process.id())?;
            let held =
                format!("{}.{}/{descriptors}/{threads}", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024);
            write!(line, "{held:>14}")?;
        }
        let ledgers = self.ledger();
        let difference = ledger::compare(&ledgers, UNDER_WAY)?;
        let Ledger { answered, right, unsure, .. } = ledgers[1];
        let faults: u64 = self.faults.values().sum();
        println!("{line}{answered:>10}{right:>10}{unsure:>8}{difference:>6}  {faults}");
        Ok(())
    }

    /// Stops all, the server last, and judges.
    fn end(mut self, held: Vec<Held>) -> anyhow::Result<()> {
        let names: Vec<&str> = self.processes().map(|process| process.name).collect();
        for client in &mut self.clients {
            let before = client.scrape();
            self.past += Ledger::of_stopped_client(&before, &client.stop()?);
        }
        self.past += Ledger::of_stopped_server(&self.server.stop()?);
        let difference = ledger::compare(&[self.past; 2], 0).context("in the end")?;
        println!("\nBetween the second quarter and the last of the time after the restarts:\n");
        println!("{:<8}{:>16}{:>15}{:>13}", "", "resident KiB", "descriptors", "threads");
        let mut too_much = Vec::new();
        for (name, held) in names.into_iter().zip(held) {
            let [resident, descriptors, threads] = held.compare();
            println!("{name:<8}{:>16}{:>15}{:>13}", resident.shown(), descriptors.shown(), threads.shown());
            too_much.extend([resident, descriptors, threads].map(|growth| (name, growth)));
        }
        too_much.retain(|(_, growth)| growth.is_too_much);
        let Ledger { answered, begun, right, unsure } = self.past;
        println!(
            "\n{begun} requests begun, {answered} answered, {right} right, {unsure} unsure; ledger difference {difference}"
        );
        println!("{} cycles, each with a reload, a load and a calm; faults: {:?}", self.cycles, self.faults);
        ensure!(too_much.is_empty(), "growth: {too_much:?}");
        Ok(())
    }
}

/// What `cliente bench` counted.
fn report(load: Child) -> anyhow::Result<Ledger> {
    let output = load.wait_with_output()?;
    let report = serde_json::from_slice(&output.stdout).context("no report of cliente bench")?;
    Ledger::of_bench(&report)
}
