//! `cliente bench` from its flags to its exit status.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use daemon::exit::{Failure, complain};
use daemon::open_files::{OpenFilesError, allow_open_files};
use indicatif::{ProgressBar, ProgressStyle};

use super::flags::Wishes;
use super::progress::Progress;
use super::report::Report;
use super::{Load, Outcome, export, run};
use crate::round::connect;
use crate::settings::{PROGRAM, Settings};
use crate::targets::target::Target;

/// Files that are open beside the connections: standard streams, and one a thread.
const OTHER_FILES: usize = 1024;

/// How often the progress is drawn.
const REDRAWN: Duration = Duration::from_millis(100);

/// Runs the bench that `flags` ask for; what they leave open, `settings` say.
pub fn bench(flags: &ArgMatches, settings: &Settings) -> ExitCode {
    let wishes = match Wishes::from_flags(flags) {
        Ok(wishes) => wishes,
        Err(problem) => {
            complain(PROGRAM.name, problem);
            return Failure::Settings.into();
        }
    };
    match measure(&wishes, settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => Failure::Run.into(),
        Err(error) => {
            complain(PROGRAM.name, format_args!("{error:#}"));
            if error.is::<OpenFilesError>() { Failure::Settings.into() } else { Failure::Run.into() }
        }
    }
}

fn measure(wishes: &Wishes, settings: &Settings) -> anyhow::Result<bool> {
    let target = wishes.target.as_ref().or(settings.own.target.as_slice().first());
    let target = target.ok_or_else(|| anyhow!("there is no target"))?;
    // A file that cannot be written is found now, not after minutes.
    let create = |path: &PathBuf| File::create(path).with_context(|| format!("{}", path.display()));
    let hdr = wishes.hdr.as_ref().map(create).transpose()?;
    allow_open_files((wishes.connections + OTHER_FILES) as u64)
        .with_context(|| format!("--connections {}", wishes.connections))?;
    let load = load(wishes, settings, target)?;
    let outcome = watch(&load)?;
    let report = Report { target, load: &load, outcome: &outcome };
    if let Some(file) = hdr {
        let mut file = BufWriter::new(file);
        export::write_hdr(&mut file, &outcome.tally.latency)?;
        file.flush().context("--hdr")?;
    }
    let text = if wishes.json { format!("{:#}\n", export::json(&report)) } else { report.to_string() };
    io::stdout().write_all(text.as_bytes()).context("standard output")?;
    Ok(outcome.all_right())
}

/// Runs it, and shows how far it is, if standard error is a terminal.
fn watch(load: &Load) -> anyhow::Result<Outcome> {
    let progress = Progress::new(load.threads);
    progress.stop_on_signals()?;
    let all = load.warmup + load.duration;
    let bar = ProgressBar::new(u64::try_from(all.as_millis())?);
    bar.set_style(ProgressStyle::with_template("{bar:36} {msg}")?);
    let begun = Instant::now();
    let outcome = thread::scope(|scope| {
        let (running, ended) = channel::<()>();
        let progress = &progress;
        let run = scope.spawn(move || {
            let _running = running;
            run(load, progress)
        });
        while ended.recv_timeout(REDRAWN) == Err(RecvTimeoutError::Timeout) {
            let (right, failed) = progress.counts();
            let elapsed = begun.elapsed().min(all);
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            let (elapsed, all) = (elapsed.as_secs(), all.as_secs());
            bar.set_message(format!("{elapsed} of {all} s, {right} right, {failed} failed"));
        }
        run.join()
    });
    bar.finish_and_clear();
    Ok(outcome.map_err(|_| anyhow!("a thread of the generator panicked"))??)
}

fn load(wishes: &Wishes, settings: &Settings, target: &Target) -> anyhow::Result<Load> {
    let limit = settings.own.connect_timeout.get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = runtime.block_on(connect::find(target, limit)).with_context(|| target.to_string())?;
    Ok(Load {
        address,
        connections: wishes.connections,
        pipeline: wishes.pipeline,
        rate: wishes.rate,
        duration: wishes.duration,
        warmup: wishes.warmup,
        keep: wishes.keep,
        threads: wishes.threads,
        connect_timeout: limit,
        reply_timeout: settings.own.reply_timeout.get(),
    })
}
