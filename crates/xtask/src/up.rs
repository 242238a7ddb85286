//! `cargo xtask up`: builds both daemons, and runs them side by side in one terminal until Ctrl-C.

mod process;
mod render;
mod session;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::Context as _;
use clap::{Arg, ArgMatches};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command::build;
pub(crate) use process::{TETHER, tether, tether_command};
use render::Painter;
use session::Session;

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Servidor,
    Cliente,
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::Servidor => "servidor",
            Self::Cliente => "cliente",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What happens to a session, in this order if at the same time.
enum Event {
    Line(Name, String),
    Ended(Name),
    Signal,
}

pub(crate) fn command() -> clap::Command {
    let interval = Arg::new("interval").long("interval").value_name("DURATION").default_value("1s");
    let profile = Arg::new("profile").long("profile").value_name("NAME").default_value("release");
    clap::Command::new("up")
        .about("Build both daemons and run them side by side until Ctrl-C")
        .after_help("Other settings are given as variables: SERVIDOR_MAX_CONNECTIONS=1 cargo xtask up")
        .arg(interval.help("From one round of the client to the next"))
        .arg(profile.help("The profile that cargo builds with"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let argument = |name| matches.get_one::<String>(name).context("every argument has a default");
    let programs = build(&[Name::Servidor.as_str(), Name::Cliente.as_str()], argument("profile")?)?;
    let [servidor, cliente] = <[PathBuf; 2]>::try_from(programs).ok().context("two programs were built")?;
    let (sender, events) = mpsc::channel();
    forward_signals(sender.clone())?;
    let painter = Painter { colours: wants_colours() };
    Session::start(&servidor, cliente, argument("interval")?, painter, sender)?.run(&events)
}

/// Whether standard output shows colours, and the user wants them: no-color.org.
fn wants_colours() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// A terminal that goes away (SIGHUP) stops the daemons as Ctrl-C does.
fn forward_signals(sender: Sender<Event>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || signals.forever().try_for_each(|_| sender.send(Event::Signal)));
    Ok(())
}
