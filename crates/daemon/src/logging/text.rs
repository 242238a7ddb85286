//! The fields of a text line: `name=value`, with quotes only where a value would be ambiguous without them.

use std::fmt::{self, Debug};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Writes the fields of an event.
pub(super) fn fields() -> impl for<'a> FormatFields<'a> + 'static {
    debug_fn(write_field).delimited(" ")
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(writer, "{value:?}");
    }
    if writer.has_ansi_escapes() {
        write!(writer, "\x1b[3m{field}\x1b[0m\x1b[2m=\x1b[0m")?;
    } else {
        write!(writer, "{field}=")?;
    }
    let text = format!("{value:?}");
    // Strings are already quoted and escaped. Values that are logged by their `Display` are not.
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) if is_plain(inner) => writer.write_str(inner),
        Some(_) => writer.write_str(&text),
        None if is_plain(&text) => writer.write_str(&text),
        None => write!(writer, "{text:?}"),
    }
}

/// Whether a value is clear without quotes, and harmless to a terminal.
fn is_plain(text: &str) -> bool {
    let is_special = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '=');
    !text.is_empty() && !text.contains(is_special)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};
    use std::sync::Mutex;

    use tracing::subscriber::with_default;
    use tracing_subscriber::prelude::*;
    use tracing_subscriber::{fmt, registry};

    use super::*;

    /// The line that `log` logs, from the message on.
    fn line_of(ansi: bool, log: impl FnOnce()) -> String {
        let (mut reader, writer) = pipe().expect("a pipe");
        let layer = fmt::layer().with_writer(Mutex::new(writer)).with_ansi(ansi).fmt_fields(fields());
        with_default(registry().with(layer.without_time().with_level(false).with_target(false)), log);
        let mut line = String::new();
        reader.read_to_string(&mut line).expect("text");
        line
    }

    #[test]
    fn strings_and_displayed_values_are_quoted_by_the_same_rule() {
        let values = [
            ("4", "4"),
            ("127.0.0.1:8888", "127.0.0.1:8888"),
            ("ÍMPAR", "ÍMPAR"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            ("say \"x\"\n", r#""say \"x\"\n""#),
            ("\x1b[31m", r#""\u{1b}[31m""#),
        ];
        for (value, expected) in values {
            let expected = format!("message string={expected} displayed={expected}\n");
            let line = line_of(false, || tracing::info!(string = value, displayed = %value, "message"));
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_terminal_shows_names_apart_from_values() {
        let line = line_of(true, || tracing::info!(count = 7, "two words"));
        assert_eq!(line, "two words \x1b[3mcount\x1b[0m\x1b[2m=\x1b[0m7\n");
    }
}
