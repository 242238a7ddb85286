//! The log on standard error: JSON or text, never in the way of the data path, with a budget for its lines.

mod background;
mod budget;
mod json;
mod output;
mod timestamp;

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

pub use budget::Budget;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt, reload};

use self::background::{Background, GATHERING, Lines};
use self::json::Json;
use self::output::Descriptor;
use crate::settings::{Common, LogFormat, LogLevel};

/// The log: lines are written as long as it lives.
#[derive(Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    background: Background,
}

impl Logging {
    /// Starts to log as `settings` say, panics included.
    ///
    /// # Panics
    ///
    /// If the process logs already.
    pub fn start(settings: &Common) -> Self {
        let background = Background::start(Descriptor(io::stderr()), GATHERING);
        let lines = background.lines();
        let (filter, level) = reload::Layer::new(settings.log_level.targets());
        let log = tracing_subscriber::registry().with(filter);
        let terminal = io::stderr().is_terminal();
        let json = match settings.log_format {
            LogFormat::Auto => !terminal,
            LogFormat::Json => true,
            LogFormat::Text => false,
        };
        if json {
            log.with(Json { lines, journal: is_journal() }).init();
        } else {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            log.with(text_layer(lines, colour)).init();
        }
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or("of no text");
            tracing::error!(location, reason, "panic");
        }));
        Self { level, background }
    }

    /// Logs from now on what `level` lets through.
    pub fn set_level(&self, level: &LogLevel) {
        // It fails only when the log has ended, and then nobody would read of it.
        let _ = self.level.reload(level.targets());
    }

    /// How many lines were lost: standard error was too slow, or took them no longer.
    pub fn lines_dropped(&self) -> u64 {
        self.background.lost()
    }
}

fn text_layer<S>(lines: Lines, colour: bool) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_ansi(colour)
        .with_writer(lines)
        .map_event_format(|format| Prioritized { format, journal: is_journal() })
}

/// Whether standard error is the journal, as `JOURNAL_STREAM` names it by device and inode: systemd.exec(5).
pub(crate) fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// What journald takes for a line's priority, if it comes before the line: sd-daemon(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Writes the journal's priority before a line.
struct Prioritized<F> {
    format: F,
    journal: bool,
}

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if self.journal {
            writer.write_str(priority(*event.metadata().level()))?;
        }
        self.format.format_event(context, writer, event)
    }
}

/// Whether anything of this level is logged.
#[inline]
pub fn may_log(level: Level) -> bool {
    level <= tracing::level_filters::LevelFilter::current()
}
