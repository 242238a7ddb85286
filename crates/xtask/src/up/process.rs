//! A daemon as a child process that the terminal's Ctrl-C does not reach, and that ends with us.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Context as _;
use clap::{Arg, ArgMatches};
use rustix::process::{Pid, Signal, kill_process};

use super::{Event, Name};

/// The hidden subcommand that [`Process::start`] runs.
pub(crate) const TETHER: &str = "tether";

/// A running daemon. Dropping it kills it.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the daemon; its log lines, and their end, come as events.
    pub(crate) fn start(
        name: Name,
        program: &Path,
        arguments: &[&str],
        events: Sender<Event>,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([TETHER, &std::process::id().to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C reaches every process of the terminal's group; which daemon stops first is decided here.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                // This fails only at the end, when nobody receives events any more.
                let _ = events.send(Event::Line(name, String::from_utf8_lossy(&line).into_owned()));
            }
            let _ = events.send(Event::Ended(name));
        });
        Ok(Self(child))
    }

    /// Sends a signal; to one that has ended by itself, nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    pub(crate) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.0.wait().context("cannot wait for a daemon")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn tether_command() -> clap::Command {
    let words =
        Arg::new("words").num_args(2..).required(true).trailing_var_arg(true).allow_hyphen_values(true);
    clap::Command::new(TETHER)
        .hide(true)
        .about("Become a program that is stopped when its parent dies")
        .arg(words)
}

/// Becomes `PROGRAM` by `exec`, after asking the kernel for SIGTERM when `PARENT` dies, even by SIGKILL.
///
/// A process can ask that for itself only: between fork and exec it would take unsafe code, here it does not.
pub(crate) fn tether(matches: &ArgMatches) -> anyhow::Result<()> {
    let words: Vec<&String> = matches.get_many("words").into_iter().flatten().collect();
    let [parent, program, arguments @ ..] = words.as_slice() else {
        anyhow::bail!("PARENT PROGRAM [ARG]…")
    };
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        let current = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        anyhow::ensure!(current.as_ref() == Some(*parent), "the parent is gone already");
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("cannot run {program}"))
}
