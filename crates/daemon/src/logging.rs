//! The log on standard error: JSON or text, never in the way of the data path, with a budget for its lines.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, fmt, reload};

use crate::settings::{Common, LogFormat, LogLevel};

/// Lines that may wait for a slow standard error; more are dropped and counted. The library's 128,000 cost 4 MB.
const LINES_WAITING: usize = 1024;

/// The log: lines are written as long as it lives.
#[derive(Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    failed: Arc<AtomicU64>,
    _flush_at_the_end: WorkerGuard,
}

impl Logging {
    /// Starts to log as `settings` say, panics included.
    ///
    /// # Panics
    ///
    /// If the process logs already.
    pub fn start(settings: &Common) -> Self {
        let failed = Arc::new(AtomicU64::new(0));
        let output = CountedOutput { failed: Arc::clone(&failed) };
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_WAITING)
            .thread_name("log")
            .finish(output);
        let dropped = writer.error_counter();
        let (filter, level) = reload::Layer::new(settings.log_level.targets());
        let log = tracing_subscriber::registry().with(filter);
        let terminal = io::stderr().is_terminal();
        let json = match settings.log_format {
            LogFormat::Auto => !terminal,
            LogFormat::Json => true,
            LogFormat::Text => false,
        };
        if json {
            log.with(json_layer(writer)).init();
        } else {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            log.with(text_layer(writer, colour)).init();
        }
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or("of no text");
            tracing::error!(location, reason, "panic");
        }));
        Self { level, dropped, failed, _flush_at_the_end: guard }
    }

    /// Logs from now on what `level` lets through.
    pub fn set_level(&self, level: &LogLevel) {
        // It fails only when the log has ended, and then nobody would read of it.
        let _ = self.level.reload(level.targets());
    }

    /// How many lines were lost: standard error was too slow, or took them no longer.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64 + self.failed.load(Ordering::Relaxed)
    }
}

fn json_layer<S>(writer: NonBlocking) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .map_event_format(|format| Prioritized { format, journal: is_journal() })
}

fn text_layer<S>(writer: NonBlocking, colour: bool) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_ansi(colour)
        .with_writer(writer)
        .map_event_format(|format| Prioritized { format, journal: is_journal() })
}

/// Whether standard error is the journal, as `JOURNAL_STREAM` names it by device and inode: systemd.exec(5).
pub(crate) fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// Writes journald's `<N>` before a line, so that it takes N for the priority: sd-daemon(3).
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
            writer.write_str(match *event.metadata().level() {
                Level::ERROR => "<3>",
                Level::WARN => "<4>",
                Level::INFO => "<6>",
                _ => "<7>",
            })?;
        }
        self.format.format_event(context, writer, event)
    }
}

/// Standard error, whose failures cost the line and nothing else.
struct CountedOutput {
    failed: Arc<AtomicU64>,
}

impl Write for CountedOutput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many more lines one message may log within the second; what is over it is counted.
#[derive(Debug)]
pub struct Budget {
    event: &'static str,
    left: AtomicI64,
    suppressed: AtomicU64,
}

impl Budget {
    /// The budget of the lines whose message is `event`.
    pub fn new(event: &'static str, per_second: u32) -> Self {
        Self { event, left: AtomicI64::new(per_second.into()), suppressed: AtomicU64::new(0) }
    }

    /// Whether lines are left in this second.
    #[inline]
    pub fn lasts(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Takes a line from the budget, or counts it as suppressed.
    pub fn take(&self) -> bool {
        let granted = self.left.fetch_sub(1, Ordering::Relaxed) > 0;
        if !granted {
            self.suppress(1);
        }
        granted
    }

    /// Counts lines that a budget which did not last keeps from the log.
    #[inline]
    pub fn suppress(&self, count: u64) {
        self.suppressed.fetch_add(count, Ordering::Relaxed);
    }

    /// Begins a new second, and sums up the last one in a line if lines were suppressed; says how many.
    pub fn refill(&self, per_second: u32) -> u64 {
        self.left.store(per_second.into(), Ordering::Relaxed);
        let count = self.suppressed.swap(0, Ordering::Relaxed);
        if count > 0 {
            tracing::info!(event = self.event, count, "events suppressed");
        }
        count
    }
}

/// Logs an event of the data path, if its level is logged and its budget allows.
#[macro_export]
macro_rules! event_within {
    ($budget:expr, $level:ident, $($event:tt)+) => {
        // In the order of what it costs to ask: `enabled!` takes a lock, since levels can change while running.
        if $crate::logging::may_log(tracing::Level::$level) {
            if !$budget.lasts() {
                $budget.suppress(1);
            } else if tracing::enabled!(tracing::Level::$level) && $budget.take() {
                tracing::event!(tracing::Level::$level, $($event)+);
            }
        }
    };
}

/// Whether anything of this level is logged.
#[inline]
pub fn may_log(level: Level) -> bool {
    level <= tracing::level_filters::LevelFilter::current()
}
