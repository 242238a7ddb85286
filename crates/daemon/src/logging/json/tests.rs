//! The lines are those of the library's formatter, to the byte.

use std::io::{self, Read as _};
use std::net::SocketAddr;

use tracing::field::Empty;
use tracing::subscriber::with_default;
use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt, registry};

use super::*;
use crate::logging::background::{Background, GATHERING};

/// Events of all kinds of values, of all levels.
fn log_all_kinds() {
    let peer = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 65_535));
    info!(connection = 7_u64, peer = %peer, number = "-12", digits = 2_usize, "number classified");
    error!("no fields");
    warn!(field = true, "and no {}", "constant message: \"\\\u{1}");
    debug!(no_message = false);
    trace!(target: "a \"target\"\n", { "a \"key\"\t" = 1, r#type = 2, dotted.name = 3, absent = Empty }, "names");
    info!(i64 = i64::MIN, u64 = u64::MAX, i128 = i128::MIN, u128 = u128::MAX, i8 = -1_i8, "integers");
    let every_control: String = ('\0'..='\u{9f}').collect();
    for text in [
        "",
        "\"",
        "\\",
        "ÍMPAR 😀\u{2028}\u{feff}",
        "\"}\r{\"message\":\"forged\"}\x1b[31m\n",
        &every_control,
    ] {
        info!(text, %text, ?text, display = display(text), debug = debug(Some(text)), "texts");
    }
    let error: &(dyn std::error::Error + 'static) = &io::Error::other("with a \"reason\"\n");
    info!(error, bytes = &b"\x00\xff"[..], unit = ?(), nested = ?[("a", 1)], "others");
    let special = [0.0, -0.0, 0.1, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let number = |text: String| text.parse::<f64>().expect("a number");
    let powers =
        (-8..=23).flat_map(|power| ["1", "-1.25", "9.99"].map(|digits| number(format!("{digits}e{power}"))));
    for float in special.into_iter().chain(powers) {
        info!(float, single = f32::MAX, "floats");
    }
}

/// Divides what was logged into lines without their times, whose shape is checked.
fn without_times(log: &str) -> Vec<String> {
    let cut = |line: &str| {
        let (time, rest) = line.strip_prefix("{\"timestamp\":\"").expect("the time comes first").split_at(27);
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
        rest.to_owned()
    };
    log.split_terminator('\n').map(cut).collect()
}

fn lines_of<L>(layer: impl FnOnce(Lines) -> L, log: impl FnOnce()) -> String
where
    L: Layer<Registry> + Send + Sync,
{
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let background = Background::start(writer, GATHERING);
    with_default(registry().with(layer(background.lines())), log);
    drop(background);
    let mut lines = String::new();
    reader.read_to_string(&mut lines).expect("text");
    lines
}

fn json(lines: Lines) -> Json {
    Json { lines, journal: false }
}

#[test]
fn lines_are_those_of_the_library_s_formatter() {
    let reference = |lines| {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        json.with_writer(lines)
    };
    let expected = without_times(&lines_of(reference, log_all_kinds));
    let lines = without_times(&lines_of(json, log_all_kinds));
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }
    assert!(lines.len() == expected.len() && lines.len() > 100, "{} of {}", lines.len(), expected.len());
}

#[test]
fn a_value_that_fails_to_show_itself_harms_no_line() {
    struct Failing;
    impl Debug for Failing {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("cut")?;
            Err(std::fmt::Error)
        }
    }
    let lines = lines_of(json, || info!(value = ?Failing, after = 1, "failing"));
    let target = module_path!();
    let expected =
        format!(r#"","level":"INFO","message":"failing","value":"cut","after":1,"target":"{target}"}}"#);
    assert_eq!(without_times(&lines), [expected]);
}
