//! The log as JSON, an object a line, written as it is visited: no map, no intermediate strings.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::background::Lines;
use super::priority;
use super::timestamp::rfc3339;

/// Logs each event as an object in a line; spans are not told of.
#[derive(Debug)]
pub(super) struct Json {
    pub(super) lines: Lines,
    /// Whether the journal reads along, which takes a priority before a line.
    pub(super) journal: bool,
}

thread_local! {
    /// The line that is being written, kept for its memory.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Taken, not borrowed: a value that logs while it is written begins a line of its own. So does a thread at its end.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        let level = *event.metadata().level();
        if self.journal {
            line.extend(priority(level).as_bytes());
        }
        write_event(&mut line, SystemTime::now(), event);
        self.lines.append(&line, level == Level::ERROR);
        let _ = LINE.try_with(|kept| kept.set(line));
    }
}

fn write_event(line: &mut Vec<u8>, time: SystemTime, event: &Event<'_>) {
    line.extend(br#"{"timestamp":""#);
    line.extend(rfc3339(time));
    line.extend(br#"","level":""#);
    line.extend(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    event.record(&mut Fields { line });
    line.extend(br#","target":""#);
    escape(line, event.metadata().target());
    line.extend(b"\"}\n");
}

/// Writes the fields of an event, one after the other.
struct Fields<'a> {
    line: &'a mut Vec<u8>,
}

impl Fields<'_> {
    fn key(&mut self, field: &Field) {
        self.line.extend(b",\"");
        escape(self.line, field.name());
        self.line.extend(b"\":");
    }

    /// Writes what JSON writes as Rust does.
    fn plain(&mut self, field: &Field, value: impl Debug) {
        self.key(field);
        write!(self.line, "{value:?}").expect("memory takes it");
    }
}

impl Visit for Fields<'_> {
    // As other writers of JSON do it, where Rust has no plus and other bounds.
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.abs() {
            1e-5..1e-4 => self.plain(field, format_args!("{value}")),
            ..1e16 => self.plain(field, value),
            1e16..f64::INFINITY => {
                let exponential = format!("{value:e}").replace('e', "e+");
                self.plain(field, format_args!("{exponential}"));
            }
            _ => self.plain(field, format_args!("null")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        self.line.push(b'"');
        escape(self.line, value);
        self.line.push(b'"');
    }

    // Integers of 128 bits come here too: as strings, since few readers of JSON have numbers of that size.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.key(field);
        self.line.push(b'"');
        // A value that fails to show itself ends there; the line is whole without it.
        let _ = write!(Escaped(self.line), "{value:?}");
        self.line.push(b'"');
    }
}

/// Escapes the text that a value writes of itself.
struct Escaped<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(line: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        line.extend(&rest[..plain]);
        match rest[plain] {
            special @ (b'"' | b'\\') => line.extend([b'\\', special]),
            b'\n' => line.extend(br"\n"),
            b'\r' => line.extend(br"\r"),
            b'\t' => line.extend(br"\t"),
            0x08 => line.extend(br"\b"),
            0x0c => line.extend(br"\f"),
            control => write!(line, "\\u{control:04x}").expect("memory takes it"),
        }
        rest = &rest[plain + 1..];
    }
    line.extend(rest);
}

#[cfg(test)]
mod tests;
