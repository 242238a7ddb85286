//! The log on standard error: JSON or text, never blocking the data path, with a budget for its lines.

mod budget;
mod output;
mod text;

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use budget::Budget;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt, reload};

use self::output::{Descriptor, Output};
use crate::settings::{Common, LogFormat, LogLevel};

/// How many lines may wait for a slow output. More are dropped and counted. All messages at their default budgets make
/// 300 lines per second. The queue allocates about 40 bytes for each line at the start.
const WAITING_LINES: usize = 2048;

/// How long the end waits for an output that takes no lines. Together with the runtime's shutdown, it stays within the
/// second that a stop may last beyond the drain.
const LAST_LINES: Duration = Duration::from_millis(800);

/// The log. Lines are written until it is dropped.
#[derive(Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    /// Lines that were dropped because the queue was full.
    dropped: ErrorCounter,
    /// Lines that could not be written to standard error.
    failed: Arc<AtomicU64>,
    /// Writes the waiting lines when it is dropped.
    writer: Option<WorkerGuard>,
}

impl Logging {
    /// Starts to log according to `settings`. Panics are logged too.
    ///
    /// # Panics
    ///
    /// If the process already has a log.
    pub fn start(settings: &Common) -> Self {
        let failed = Arc::new(AtomicU64::new(0));
        let output = Output::new(Descriptor(io::stderr()), Arc::clone(&failed));
        let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
        let (lines, writer) = queue.thread_name("log").finish(output);
        let dropped = lines.error_counter();
        let (filter, level) = reload::Layer::new(settings.log_level.targets());
        let log = tracing_subscriber::registry().with(filter);
        let layer = fmt::layer().with_writer(lines);
        let terminal = io::stderr().is_terminal();
        let json = match settings.log_format {
            LogFormat::Auto => !terminal,
            LogFormat::Json => true,
            LogFormat::Text => false,
        };
        let journal = is_journal();
        if json {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            log.with(layer.map_event_format(|format| Prioritized { format, journal })).init();
        } else {
            let layer = layer.with_ansi(terminal && wants_colour()).fmt_fields(text::fields());
            log.with(layer.map_event_format(|format| Prioritized { format, journal })).init();
        }
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or("of no text");
            tracing::error!(location, reason, "panic");
        }));
        Self { level, dropped, failed, writer: Some(writer) }
    }

    /// Changes the level.
    pub fn set_level(&self, level: &LogLevel) {
        // It fails only after the log has ended.
        let _ = self.level.reload(level.targets());
    }

    /// How many lines were lost because standard error was too slow or could not be written to.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64 + self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let writer = self.writer.take();
        let (done, ended) = mpsc::channel();
        // On its own thread: if the queue stays full, the library prints to standard output, which may be the same stuck
        // pipe or journal.
        let ending = thread::Builder::new().spawn(move || {
            drop(writer);
            let _ = done.send(());
        });
        if ending.is_ok() {
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

/// Whether the terminal shows colours and its user wants them: no-color.org.
fn wants_colour() -> bool {
    let is_plain = |value| value == "dumb";
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && !std::env::var_os("TERM").is_some_and(is_plain)
}

/// Whether standard error is the journal: `JOURNAL_STREAM` has its device and inode, see systemd.exec(5).
pub(crate) fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// The prefix by which journald knows the priority of a line: sd-daemon(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Writes the journal's priority before each line.
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
