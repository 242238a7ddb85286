//! One log line of a daemon in 80 columns: time, daemon, message, and the most useful fields.

use serde_json::{Map, Value};

use super::Name;

/// Renders log lines, with or without colours.
pub(crate) struct Painter {
    pub(crate) colours: bool,
}

/// The fields that every line has and that are shown in columns of their own, or not at all.
const COMMON: [&str; 4] = ["timestamp", "level", "target", "message"];

const DIM: &str = "2";
const RED: &str = "31";
const YELLOW: &str = "33";

impl Painter {
    /// A log line in JSON. What is no JSON object, such as an error in the settings, is shown as it is.
    pub(crate) fn line(&self, name: Name, raw: &str) -> String {
        let colour = match name {
            Name::Servidor => "36",
            Name::Cliente => "35",
        };
        let who = self.paint(colour, &format!("{name:8}"));
        let Ok(Value::Object(fields)) = serde_json::from_str(raw) else {
            return format!("{:8} {who} {raw}", "");
        };
        let time = text(&fields, "timestamp");
        let time = self.paint(DIM, time.get(11..19).unwrap_or(&time));
        let body = body(&fields);
        match fields.get("level").and_then(Value::as_str) {
            Some("ERROR") => format!("{time} {who} {}", self.paint(RED, &format!("! {body}"))),
            Some("WARN") => format!("{time} {who} {}", self.paint(YELLOW, &format!("! {body}"))),
            _ => format!("{time} {who} {body}"),
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn body(fields: &Map<String, Value>) -> String {
    let text = |name| text(fields, name);
    let number = |name| fields.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (message, none) = (text("message"), String::new);
    let connection = || format!("#{}", number("connection"));
    let (word, figure, rest) = match message.as_str() {
        "listening" => {
            let inherited = fields.get("inherited") == Some(&Value::Bool(true));
            let inherited = if inherited { ", inherited" } else { "" };
            let rest = format!("{}, limit {}{inherited}", text("address"), number("max_connections"));
            (none(), none(), rest)
        }
        "metrics listening" => (none(), none(), text("address")),
        "connection established" => (none(), connection(), text("peer")),
        "number classified" => (text("class"), connection(), text("number")),
        "connection closed" => {
            let requests = number("requests");
            let plural = if requests == 1 { "" } else { "s" };
            let duration = number("duration_ms");
            let rest = format!("{}, {requests} request{plural}, {duration} ms", text("reason"));
            (none(), connection(), rest)
        }
        "request rejected" => (none(), connection(), format!("{}, from {}", text("reason"), text("peer"))),
        "round completed" => (text("class"), microseconds(number("round_trip_us")), text("number")),
        "round failed" => {
            let rest = format!("{}: {}", text("reason"), text("error"));
            (none(), microseconds(number("elapsed_us")), rest)
        }
        _ => {
            // The totals at the end are many: those that are zero say nothing.
            let is_shown = |value: &Value| message != "stopped" || value.as_u64() != Some(0);
            let others =
                fields.iter().filter(|(name, value)| !COMMON.contains(&name.as_str()) && is_shown(value));
            let others = others.map(|(name, value)| format!(" {name}={}", plain(value)));
            return message.clone() + &others.collect::<String>();
        }
    };
    columns(&message, &word, &figure, &rest)
}

/// The message, a word about it, a short figure to the right, and the rest: a number of 30 digits ends in column 80.
fn columns(message: &str, word: &str, figure: &str, rest: &str) -> String {
    if word.is_empty() {
        format!("{message:<23} {figure:>7} {rest}")
    } else {
        format!("{message:<17} {word:<5} {figure:>7} {rest}")
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).map(plain).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Three digits and a unit.
fn microseconds(duration: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let milliseconds = duration as f64 / 1000.0;
    match duration {
        0..1_000 => format!("{duration} µs"),
        1_000..10_000 => format!("{milliseconds:.2} ms"),
        10_000..100_000 => format!("{milliseconds:.1} ms"),
        100_000..1_000_000 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", milliseconds / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Painter = Painter { colours: false };
    const LONGEST: &str = "961290391283912839128391283912";

    fn logged(level: &str, fields: &str) -> String {
        format!(r#"{{"timestamp":"2026-11-25T12:01:05.123456Z","level":"{level}","target":"x",{fields}}}"#)
    }

    #[test]
    fn a_round_of_thirty_digits_fits_in_80_columns_on_both_sides() {
        let classified = format!(
            r#""message":"number classified","connection":12,"peer":"127.0.0.1:50412","number":"{LONGEST}","digits":30,"class":"large""#
        );
        let completed = format!(
            r#""message":"round completed","server":"127.0.0.1:8888","number":"{LONGEST}","digits":30,"class":"large","reply":"{LONGEST}","connect_us":58,"round_trip_us":1234"#
        );
        let classified = PLAIN.line(Name::Servidor, &logged("INFO", &classified));
        let completed = PLAIN.line(Name::Cliente, &logged("INFO", &completed));
        assert_eq!(classified, format!("12:01:05 servidor number classified large     #12 {LONGEST}"));
        assert_eq!(completed, format!("12:01:05 cliente  round completed   large 1.23 ms {LONGEST}"));
        assert_eq!(classified.chars().count(), 80);
        assert_eq!(completed.chars().count(), 80);
    }

    #[test]
    fn an_address_is_shown_with_what_it_is_for() {
        let fields = r#""message":"listening","address":"[::1]:8888","max_connections":5,"inherited":true"#;
        assert_eq!(
            PLAIN.line(Name::Servidor, &logged("INFO", fields)),
            "12:01:05 servidor listening                       [::1]:8888, limit 5, inherited"
        );
    }

    #[test]
    fn a_connection_is_seen_from_its_beginning_to_its_end() {
        let fields = r#""message":"connection established","connection":3,"peer":"[::1]:50412""#;
        assert_eq!(
            PLAIN.line(Name::Servidor, &logged("INFO", fields)),
            "12:01:05 servidor connection established       #3 [::1]:50412"
        );
        let fields = r#""message":"connection closed","connection":3,"peer":"[::1]:50412","reason":"client","requests":1,"duration_ms":12"#;
        assert_eq!(
            PLAIN.line(Name::Servidor, &logged("INFO", fields)),
            "12:01:05 servidor connection closed            #3 client, 1 request, 12 ms"
        );
    }

    #[test]
    fn a_warning_is_marked_with_and_without_colours() {
        let fields = r#""message":"round failed","server":"127.0.0.1:8888","reason":"refused","error":"Connection refused","elapsed_us":95"#;
        let line = logged("WARN", fields);
        assert_eq!(
            PLAIN.line(Name::Cliente, &line),
            "12:01:05 cliente  ! round failed              95 µs refused: Connection refused"
        );
        assert_eq!(
            Painter { colours: true }.line(Name::Cliente, &line),
            "\x1b[2m12:01:05\x1b[0m \x1b[35mcliente \x1b[0m \x1b[33m! round failed              95 µs refused: Connection refused\x1b[0m"
        );
    }

    #[test]
    fn fields_of_other_messages_are_named() {
        let fields = r#""message":"draining","rounds":1,"wait":"2s""#;
        assert_eq!(
            PLAIN.line(Name::Cliente, &logged("INFO", fields)),
            "12:01:05 cliente  draining rounds=1 wait=2s"
        );
        let fields = r#""message":"stopped","rounds":9,"right":9,"failed":0"#;
        assert_eq!(
            PLAIN.line(Name::Cliente, &logged("INFO", fields)),
            "12:01:05 cliente  stopped right=9 rounds=9"
        );
    }

    #[test]
    fn what_is_no_log_line_is_shown_as_it_is() {
        assert_eq!(
            PLAIN.line(Name::Servidor, "servidor: 1 setting is wrong"),
            "         servidor servidor: 1 setting is wrong"
        );
    }

    #[test]
    fn durations_have_three_digits() {
        let shown = [7, 999, 1_000, 12_345, 123_456, 3_000_000].map(microseconds);
        assert_eq!(shown, ["7 µs", "999 µs", "1.00 ms", "12.3 ms", "123 ms", "3.00 s"]);
    }
}
