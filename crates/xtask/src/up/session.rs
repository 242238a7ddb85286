//! From the start of the first daemon to the end of the last: when each is started and stopped, and what is shown.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;

use super::process::Process;
use super::render::Painter;
use super::{Event, Name};

/// What is rendered here must be JSON, at a level that shows rounds.
const LOGS: [&str; 4] = ["--log-format", "json", "--log-level", "info"];

/// Lines that come within this time are put in order. Nobody sees the delay.
const TOGETHER: Duration = Duration::from_millis(50);

pub(super) struct Session {
    /// Each is `Some` while it runs.
    servidor: Option<Process>,
    cliente: Option<Process>,
    cliente_program: PathBuf,
    interval: String,
    /// The address of `servidor`'s page, once it is logged, unless it is turned off.
    servidor_page: Option<String>,
    painter: Painter,
    sender: Sender<Event>,
    signals: u32,
    stopping: bool,
    /// What went wrong first.
    failure: Option<String>,
    /// How the client's rounds went, by its last log line: not every round is logged, since events have a budget.
    rounds: Option<Rounds>,
}

struct Rounds {
    begun: u64,
    right: u64,
}

impl Session {
    /// Starts `servidor`; `cliente` follows when it listens.
    pub(super) fn start(
        servidor: &Path,
        cliente_program: PathBuf,
        interval: &str,
        painter: Painter,
        sender: Sender<Event>,
    ) -> anyhow::Result<Self> {
        let servidor = Process::start(Name::Servidor, servidor, &LOGS, sender.clone())?;
        Ok(Self {
            servidor: Some(servidor),
            cliente: None,
            cliente_program,
            interval: interval.to_owned(),
            servidor_page: None,
            painter,
            sender,
            signals: 0,
            stopping: false,
            failure: None,
            rounds: None,
        })
    }

    /// Follows both to their ends.
    pub(super) fn run(mut self, events: &Receiver<Event>) -> anyhow::Result<()> {
        while self.servidor.is_some() || self.cliente.is_some() {
            for event in gather(events)? {
                match event {
                    Event::Line(name, line) => self.line(name, &line)?,
                    Event::Ended(name) => self.ended(name)?,
                    Event::Signal => self.interrupted(),
                }
            }
        }
        if let Some(Rounds { begun, right }) = self.rounds {
            self.show(&format!("\n{right} of {begun} rounds went right."));
        }
        match self.failure {
            Some(failure) => anyhow::bail!(failure),
            None => Ok(()),
        }
    }

    fn line(&mut self, name: Name, line: &str) -> anyhow::Result<()> {
        self.show(&self.painter.line(name, line));
        let fields: Value = serde_json::from_str(line).unwrap_or_default();
        let address = fields["address"].as_str().unwrap_or_default();
        match (name, fields["message"].as_str().unwrap_or_default()) {
            (Name::Servidor, "listening") if self.cliente.is_none() && !self.stopping => {
                let arguments = [&["--target", address, "--interval", &self.interval], &LOGS[..]].concat();
                let process =
                    Process::start(Name::Cliente, &self.cliente_program, &arguments, self.sender.clone())?;
                self.cliente = Some(process);
            }
            (Name::Servidor, "metrics listening") => self.servidor_page = Some(format!("http://{address}/")),
            (Name::Cliente, "metrics listening") => self.show_pages(&format!("http://{address}/")),
            (Name::Cliente, "stopped") => {
                let count = |field: &str| fields[field].as_u64().unwrap_or_default();
                self.rounds = Some(Rounds { begun: count("rounds"), right: count("right") });
            }
            _ => {}
        }
        Ok(())
    }

    fn show_pages(&mut self, cliente_page: &str) {
        let servidor_page = self.servidor_page.clone();
        self.show("");
        for (name, page) in [(Name::Servidor, servidor_page.as_deref()), (Name::Cliente, Some(cliente_page))]
        {
            if let Some(page) = page {
                self.show(&format!("  {name:8}  page {page}  metrics {page}metrics"));
            }
        }
        self.show("  Times are UTC. Ctrl-C stops both.\n");
    }

    /// The first signal stops one after the other, the second both at once, the third kills them.
    fn interrupted(&mut self) {
        self.signals += 1;
        // The terminal has written ^C where the next line would begin.
        self.show("");
        match self.signals {
            1 if self.stopping => {}
            1 => self.stop(),
            2 => self.signal_all(Signal::TERM),
            _ => self.signal_all(Signal::KILL),
        }
    }

    fn signal_all(&self, signal: Signal) {
        for process in self.cliente.iter().chain(&self.servidor) {
            process.signal(signal);
        }
    }

    /// The client stops first, so that none of its rounds fails.
    fn stop(&mut self) {
        self.stopping = true;
        if let Some(process) = self.cliente.as_ref().or(self.servidor.as_ref()) {
            process.signal(Signal::TERM);
        }
    }

    fn ended(&mut self, name: Name) -> anyhow::Result<()> {
        let slot = match name {
            Name::Servidor => &mut self.servidor,
            Name::Cliente => &mut self.cliente,
        };
        let status = slot.take().context("what ended was running")?.wait()?;
        if let Some(failure) = failure(name, status, self.stopping) {
            self.failure.get_or_insert(failure);
        }
        self.stop();
        Ok(())
    }

    /// If nothing can be shown any more, the daemons stop.
    fn show(&mut self, text: &str) {
        if writeln!(io::stdout(), "{text}").is_err() && !self.stopping {
            self.stop();
        }
    }
}

/// Waits for an event and for those right behind it, and puts their lines in the order in which they were logged:
/// each daemon writes its log in a thread, so that the reply might be shown before the request.
fn gather(events: &Receiver<Event>) -> Result<Vec<Event>, RecvError> {
    let mut gathered = vec![events.recv()?];
    let until = Instant::now() + TOGETHER;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && let Ok(event) = events.recv_timeout(left)
    {
        gathered.push(event);
    }
    gathered.sort_by_cached_key(|event| match event {
        Event::Line(_, line) => (false, timestamp(line)),
        // An end comes after the last line.
        Event::Ended(_) | Event::Signal => (true, None),
    });
    Ok(gathered)
}

fn timestamp(line: &str) -> Option<String> {
    let fields: Value = serde_json::from_str(line).ok()?;
    Some(fields["timestamp"].as_str()?.to_owned())
}

fn failure(name: Name, status: ExitStatus, stopping: bool) -> Option<String> {
    match (stopping, status.success()) {
        (true, true) => None,
        (true, false) => Some(format!("{name} did not stop well: {status}")),
        (false, _) => Some(format!("{name} ended by itself: {status}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn lines_are_shown_in_the_order_in_which_they_were_logged_and_ends_after_them() {
        let (sender, events) = channel();
        let line = |time: &str| format!(r#"{{"timestamp":"2026-11-25T12:01:05.{time}Z"}}"#);
        sender.send(Event::Ended(Name::Cliente)).unwrap();
        sender.send(Event::Line(Name::Cliente, line("000002"))).unwrap();
        sender.send(Event::Line(Name::Servidor, line("000001"))).unwrap();
        let shown: Vec<String> = gather(&events)
            .unwrap()
            .into_iter()
            .map(|event| match event {
                Event::Line(_, line) => line,
                Event::Ended(name) => format!("{name} ended"),
                Event::Signal => "signal".to_owned(),
            })
            .collect();
        assert_eq!(shown, [line("000001"), line("000002"), "cliente ended".to_owned()]);
    }
}
