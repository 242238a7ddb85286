//! Signals, as what they ask for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM, SIGINT: finish, then stop.
    Stop,
    /// SIGHUP: read the settings again.
    Reload,
    /// SIGUSR1: log the state.
    Report,
}

/// The signals of this process.
pub struct Requests {
    signals: Signals,
}

impl Requests {
    /// Takes over the signals. A second SIGTERM or SIGINT ends the process at once, with 128 + its number.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a handler.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub fn listen() -> io::Result<Self> {
        // Signals coalesce, so a stream cannot count them: the handler itself must know that one came before.
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
        Ok(Self { signals: Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])? })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        loop {
            match self.signals.next().await {
                Some(SIGTERM | SIGINT) => return Request::Stop,
                Some(SIGHUP) => return Request::Reload,
                Some(SIGUSR1) => return Request::Report,
                Some(_) => {}
                // The stream ends only where it is closed, which nobody does.
                None => std::future::pending().await,
            }
        }
    }
}
