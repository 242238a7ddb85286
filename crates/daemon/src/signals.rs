//! Signals, as requests to the daemon.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM, SIGINT, and SIGHUP after the terminal has closed: drain, then stop.
    Stop,
    /// SIGHUP: read the settings again.
    Reload,
    /// SIGUSR1: log the state.
    Report,
}

/// The signals of this process.
pub struct Requests {
    signals: Signals,
    /// The controlling terminal, if there is one.
    terminal: Option<File>,
}

impl Requests {
    /// Installs the handlers. A second SIGTERM or SIGINT ends the process at once, with 128 + its number. SIGHUP stays
    /// ignored if it was, as under nohup(1).
    ///
    /// # Errors
    ///
    /// If the kernel refuses a handler.
    ///
    /// # Panics
    ///
    /// If called outside a runtime.
    pub fn listen() -> io::Result<Self> {
        // Signals coalesce, so a stream cannot count them. The handler itself must remember the first one.
        let stop_requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&stop_requested),
            )?;
        }
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop_requested))?;
        }
        let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
        if !is_ignored(SIGHUP) {
            signals.handle().add_signal(SIGHUP)?;
        }
        Ok(Self { signals, terminal: controlling_terminal() })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        loop {
            match self.signals.next().await {
                Some(SIGTERM | SIGINT) => return Request::Stop,
                // The user who closed the terminal can no longer stop the daemon from there.
                Some(SIGHUP) if self.terminal.as_ref().is_some_and(is_hung_up) => return Request::Stop,
                Some(SIGHUP) => return Request::Reload,
                Some(SIGUSR1) => return Request::Report,
                Some(_) => {}
                // The stream ends only when its handle is closed, which nothing here does.
                None => std::future::pending().await,
            }
        }
    }
}

/// Whether this process ignores `signal`: proc_pid_status(5). sigaction(2) would take unsafe code.
fn is_ignored(signal: i32) -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn controlling_terminal() -> Option<File> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
    File::options().read(true).custom_flags(flags.cast_signed()).open("/dev/tty").ok()
}

fn is_hung_up(terminal: &File) -> bool {
    let mut polled = [PollFd::new(terminal, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}
