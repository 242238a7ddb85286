//! Wrong settings, with the full text of each error.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

const MAX_CONNECTIONS: &str = "expected a whole number from 1 to 1000000";
const DURATION: &str = "expected a duration from 1ms to 365days, such as 200ms, 10s or 1m";
const ADDRESS: &str = "expected an address and a port, such as 127.0.0.1:8888 or [::1]:8888";
const NETWORK: &str = "expected a network or an address, such as 192.0.2.0/24, ::1/128 or 192.0.2.7";
const LOG_LEVEL: &str =
    "expected error, warn, info, debug, trace or off, or a filter such as info,servidor=debug";
const NOT_SHOWN: &str = "expected one that --default-config shows";

/// What is printed for these errors, each of which is one line.
fn complaint(errors: &[&str]) -> String {
    let first = match errors.len() {
        1 => String::from("servidor: 1 setting is wrong\n"),
        count => format!("servidor: {count} settings are wrong\n"),
    };
    errors.iter().fold(first, |text, error| text + "  " + error + "\n")
}

/// Asserts that the daemon refuses to start, and prints `expected`.
///
/// `FILE` in `expected` stands for the path of the settings file, which holds `file`.
fn assert_refused(file: &[u8], variables: &[(&str, &[u8])], flags: &[&str], expected: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("servidor.toml");
    fs::write(&path, file).expect("the file can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_servidor"))
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, OsStr::from_bytes(value))))
        .arg("--check-config")
        .arg("--config")
        .arg(&path)
        .args(flags)
        .output()
        .expect("the daemon starts");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let error = error.replace(path.to_str().expect("UTF-8"), "FILE");
    assert_eq!(error, expected, "{:?} {variables:?} {flags:?}", String::from_utf8_lossy(file));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(78), &b""[..]));
}

#[test]
fn errors_in_the_file_are_reported_with_line_and_column() {
    let cases = include_str!("wrong_settings.tsv").lines().skip(1);
    for (text, error) in cases.map(|case| case.split_once('\t').expect("a text, a tab, an error")) {
        let text = text.replace("\\n", "\n");
        assert_refused(text.as_bytes(), &[], &[], &complaint(&[&format!("FILE:{error}")]));
    }
}

#[test]
fn a_duplicate_key_hides_no_other_error() {
    assert_refused(
        b"idle-timeout = \"0s\"\ncolour = 1\nidle-timeout = \"1s\"\ncolour = 2\n\
          idle-timeout = \"2s\"\noverload = \"drop\"\n",
        &[],
        &[],
        &complaint(&[
            &format!("FILE:1:16: idle-timeout = \"0s\": {DURATION}"),
            &format!("FILE:2:1: unknown key `colour`, {NOT_SHOWN}"),
            "FILE:3:1: idle-timeout: given twice, expected once; the first is at line 1",
            "FILE:4:1: colour: given twice, expected once; the first is at line 2",
            "FILE:5:1: idle-timeout: given twice, expected once; the first is at line 1",
            "FILE:6:12: overload = \"drop\": expected wait or refuse",
        ]),
    );
}

#[test]
fn keys_of_tables_are_not_settings() {
    assert_refused(
        b"listen = \"[::1]:1\"\n[servidor]\nlisten = 1\nlisten = 2\n",
        &[],
        &[],
        &complaint(&[
            &format!("FILE:2:2: unknown key `servidor`, {NOT_SHOWN}"),
            "FILE:4:1: listen: given twice, expected once",
        ]),
    );
    assert_refused(
        b"listen = \"[::1]:1\"\n[listen]\n",
        &[],
        &[],
        &complaint(&[
            &format!(
                "FILE:2:1: listen = [listen]: expected a list of texts, each {}, not a table",
                &ADDRESS["expected ".len()..]
            ),
            "FILE:2:2: listen: given twice, expected once",
        ]),
    );
}

#[test]
fn a_value_that_does_not_parse_is_reported_beside_a_duplicate_key() {
    assert_refused(
        b"idle-timeout = \"1s\"\nidle-timeout = \"2s\"\nallow = [\n",
        &[],
        &[],
        &complaint(&[
            "FILE:2:1: idle-timeout: given twice, expected once; the first is at line 1",
            "FILE:3:10: unclosed array, expected `]`",
        ]),
    );
}

#[test]
fn a_file_that_is_not_text_is_reported() {
    let error = "FILE: expected a file in UTF-8";
    assert_refused(b"listen = \"\xff\"", &[], &[], &complaint(&[error]));
}

#[test]
fn errors_in_variables_name_them() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("SERVIDOR_LISTEN", b"foo", &format!("SERVIDOR_LISTEN=foo: {ADDRESS}")),
        ("SERVIDOR_LISTEN", b"\xff", "SERVIDOR_LISTEN=\u{fffd}: expected UTF-8 text"),
        ("SERVIDOR_ALLOW", b"10.0.0.0/8, x", &format!("SERVIDOR_ALLOW=10.0.0.0/8, x: \"x\": {NETWORK}")),
        ("SERVIDOR_MAX_CONNECTIONS", b"abc", &format!("SERVIDOR_MAX_CONNECTIONS=abc: {MAX_CONNECTIONS}")),
        ("SERVIDOR_OVERLOAD", b"Wait", "SERVIDOR_OVERLOAD=Wait: expected wait or refuse"),
        ("SERVIDOR_UNTERMINATED_WAIT", b"0", &format!("SERVIDOR_UNTERMINATED_WAIT=0: {DURATION}")),
        ("SERVIDOR_LOG_LEVEL", b"verbose", &format!("SERVIDOR_LOG_LEVEL=verbose: {LOG_LEVEL}")),
    ];
    for (name, value, error) in cases {
        assert_refused(b"", &[(name, value)], &[], &complaint(&[error]));
    }
}

#[test]
fn errors_in_flags_name_them() {
    let cases: &[(&[&str], &str)] = &[
        (&["--idle-timeout", "5x"], &format!("--idle-timeout 5x: {DURATION}")),
        (&["--idle-timeout", ""], &format!("--idle-timeout '': {DURATION}")),
        (&["--max-connections=-1"], &format!("--max-connections -1: {MAX_CONNECTIONS}")),
        (
            &["--listen", "here", "--listen", "[::1]:1"],
            &format!("--listen here,[::1]:1: \"here\": {ADDRESS}"),
        ),
    ];
    for (flags, error) in cases {
        assert_refused(b"", &[], flags, &complaint(&[error]));
    }
}

#[test]
fn contradictions_are_reported_with_both_values() {
    let wait = "unterminated-wait = 10s and line-timeout = 5s: expected the wait to be no longer than the timeout, \
                which would always come first";
    let address = "listen and metrics-listen = [::1]:9888: expected two different addresses";
    let slow = ["--unterminated-wait", "10s"];
    let same = ["--listen", "127.0.0.1:1,[::1]:9888", "--metrics-listen", "[::1]:9888"];
    assert_refused(b"", &[], &slow, &complaint(&[wait]));
    assert_refused(b"", &[], &same, &complaint(&[address]));
    assert_refused(b"", &[], &[slow.as_slice(), &same].concat(), &complaint(&[wait, address]));
}

#[test]
fn port_0_may_be_used_twice() {
    let output = Command::new(env!("CARGO_BIN_EXE_servidor"))
        .args(["--check-config", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
        .env_clear()
        .output()
        .expect("the daemon starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn misuse_of_the_command_line_is_reported_with_the_usage() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["--max-connections"],
            "error: a value is required for '--max-connections <VALUE>' but none was supplied\n",
        ),
        (
            &["--max-connections", "5", "--max-connections", "6"],
            "error: the argument '--max-connections <VALUE>' cannot be used multiple times\n\n\
             Usage: servidor [OPTIONS]\n",
        ),
        (
            &["--max-conections", "5"],
            "error: unexpected argument '--max-conections' found\n\n  \
             tip: a similar argument exists: '--max-connections'\n\n\
             Usage: servidor --check-config --config <FILE> --max-connections <VALUE>\n",
        ),
        (&["extra"], "error: unexpected argument 'extra' found\n\nUsage: servidor [OPTIONS]\n"),
    ];
    for (flags, error) in cases {
        assert_refused(b"", &[], flags, &format!("{error}\nFor more information, try '--help'.\n"));
    }
}

#[test]
fn all_errors_of_all_sources_are_reported_at_once() {
    assert_refused(
        b"listen = \"here\"\n\nallow = [\"10.0.0.0/40\"]\ncolour = \"red\"\n",
        &[("SERVIDOR_OVERLOAD", b"drop"), ("SERVIDOR_LISTEN", b"there")],
        &["--idle-timeout", "0s", "--listen", "127.0.0.1:1"],
        &complaint(&[
            &format!("FILE:1:10: listen = \"here\": {ADDRESS}"),
            &format!("FILE:3:9: allow = [\"10.0.0.0/40\"]: {NETWORK}"),
            &format!("FILE:4:1: unknown key `colour`, {NOT_SHOWN}"),
            &format!("SERVIDOR_LISTEN=there: {ADDRESS}"),
            "SERVIDOR_OVERLOAD=drop: expected wait or refuse",
            &format!("--idle-timeout 0s: {DURATION}"),
        ]),
    );
}

#[test]
fn the_exit_status_is_right_even_if_nothing_can_be_printed() {
    let full = File::options().write(true).open("/dev/full").expect("a device of every Linux");
    let status = Command::new(env!("CARGO_BIN_EXE_servidor"))
        .args(["--max-connections", "0"])
        .env_clear()
        .stderr(full)
        .status()
        .expect("the daemon starts");
    assert_eq!(status.code(), Some(78));
}

#[test]
fn misuse_of_the_command_line_hides_no_wrong_setting() {
    let unknown = "error: unexpected argument '--max-conections' found\n\n  \
                   tip: a similar argument exists: '--max-connections'\n\n\
                   Usage: servidor --check-config --config <FILE> --max-connections <VALUE>\n\n\
                   For more information, try '--help'.\n";
    let wrong = complaint(&[
        "FILE:1:12: overload = \"drop\": expected wait or refuse",
        "SERVIDOR_OVERLOAD=Wait: expected wait or refuse",
        &format!("--idle-timeout 0s: {DURATION}"),
    ]);
    let flags =
        ["--max-conections", "5", "extra", "--line-timeout", "1s", "--idle-timeout", "0s", "--line-timeout"];
    assert_refused(
        b"overload = \"drop\"\n",
        &[("SERVIDOR_OVERLOAD", b"Wait")],
        &flags,
        &format!(
            "{unknown}error: unexpected argument 'extra' found\n\
             error: a value is required for '--line-timeout <VALUE>' but none was supplied\n{wrong}"
        ),
    );
}
