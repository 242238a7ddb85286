//! `cliente bench` from its flags to its exit status.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use daemon::exit::{Failure as Exit, complain};
use daemon::open_files::{OpenFilesError, allow_open_files};
use thiserror::Error;

use super::Load;
use super::export::{self, HdrFile};
use super::flags::Options;
use super::report::Report;
use super::watch::watch;
use crate::round::connect;
use crate::round::failure::Failure;
use crate::settings::{PROGRAM, Settings};
use crate::targets::target::Target;

/// Files that are open beside the connections: standard streams, and one a thread.
const OTHER_FILES: usize = 1024;

/// Why there is no report.
#[derive(Debug, Error)]
enum BenchError {
    #[error("there is no target")]
    NoTarget,
    #[error("{0}: {1}")]
    Target(Target, Box<Failure>),
    #[error("--connections {0}: {1}")]
    OpenFiles(usize, OpenFilesError),
    #[error("--hdr {}: {}", .0.display(), .1)]
    Hdr(PathBuf, io::Error),
    #[error("cannot run: {0}")]
    Run(#[from] io::Error),
    #[error("standard output: {0}")]
    Output(io::Error),
}

/// Runs the bench that `flags` ask for; what they leave open, `settings` say.
pub fn bench(flags: &ArgMatches, settings: &Settings) -> ExitCode {
    let options = match Options::from_flags(flags) {
        Ok(options) => options,
        Err(problem) => {
            complain(PROGRAM.name, problem);
            return Exit::Settings.into();
        }
    };
    match measure(&options, settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => Exit::Run.into(),
        Err(error) => {
            complain(PROGRAM.name, &error);
            if matches!(error, BenchError::OpenFiles(..)) { Exit::Settings.into() } else { Exit::Run.into() }
        }
    }
}

/// Runs and reports it; returns whether it passed.
fn measure(options: &Options, settings: &Settings) -> Result<bool, BenchError> {
    let target = options.target.as_ref().or(settings.own.target.as_slice().first());
    let target = target.ok_or(BenchError::NoTarget)?;
    // A file that cannot be written is found now, not after minutes.
    let hdr_error = |error| BenchError::Hdr(options.hdr.clone().unwrap_or_default(), error);
    let hdr = options.hdr.as_deref().map(HdrFile::create).transpose().map_err(hdr_error)?;
    allow_open_files((options.connections + OTHER_FILES) as u64)
        .map_err(|error| BenchError::OpenFiles(options.connections, error))?;
    let load = load(options, settings, target)?;
    let outcome = watch(&load)?;
    let report = Report { target, load: &load, outcome: &outcome, limits: &options.limits };
    let text = if options.json { format!("{:#}\n", export::json(&report)) } else { report.to_string() };
    io::stdout().write_all(text.as_bytes()).map_err(BenchError::Output)?;
    for limit in report.broken_limits() {
        complain(PROGRAM.name, limit);
    }
    if let Some(file) = hdr.filter(|_| outcome.measured_replies() > 0) {
        file.write(&outcome.tally.latency).map_err(hdr_error)?;
    }
    Ok(report.is_passed())
}

fn load(options: &Options, settings: &Settings, target: &Target) -> Result<Load, BenchError> {
    let limit = settings.own.connect_timeout.get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = runtime.block_on(connect::find(target, limit));
    Ok(Load {
        address: address.map_err(|failure| BenchError::Target(target.clone(), Box::new(failure)))?,
        connections: options.connections,
        pipeline: options.pipeline,
        rate: options.rate,
        duration: options.duration,
        requests: options.requests,
        warmup: options.warmup,
        keep: options.keep,
        threads: options.threads,
        connect_timeout: limit,
        reply_timeout: settings.own.reply_timeout.get(),
    })
}
