//! The sources of settings, which of them wins, and the flags that print settings.

mod common;

use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};

use common::{start, start_with};
use tempfile::NamedTempFile;
use testkit::{Peer, Signal, wait_until};

fn run(variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    let command = command.args(flags).env_clear().envs(variables.iter().copied());
    command.output().expect("the daemon starts")
}

fn stdout_of(variables: &[(&str, &str)], flags: &[&str]) -> String {
    let output = run(variables, flags);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn file_with(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    fs::write(&file, text).expect("the file can be written");
    file
}

fn path_of(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path in UTF-8")
}

fn assert_effective(print: &str, line: &str) {
    assert!(print.lines().any(|printed| printed == line), "no {line} in\n{print}");
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = file_with("max-connections = 6\nidle-timeout = \"6s\"\noverload = \"refuse\"\n");
    let variables = [("SERVIDOR_MAX_CONNECTIONS", "7"), ("SERVIDOR_IDLE_TIMEOUT", "7s")];
    let flags = ["--check-config", "--config", path_of(&file), "--max-connections", "8"];
    let print = stdout_of(&variables, &flags);
    assert_effective(&print, "max-connections = 8");
    assert_effective(&print, "idle-timeout = \"7s\"");
    assert_effective(&print, "overload = \"refuse\"");
    assert_effective(&print, "line-timeout = \"5s\"");
}

#[test]
fn lists_repeat_the_flag_or_use_commas() {
    let expected = "listen = [\"127.0.0.1:1\", \"[::1]:2\"]";
    for (variables, flags) in [
        (&[][..], &["--check-config", "--listen", "127.0.0.1:1", "--listen", "[::1]:2"][..]),
        (&[], &["--check-config", "--listen", "127.0.0.1:1,[::1]:2"]),
        (&[("SERVIDOR_LISTEN", "127.0.0.1:1, [::1]:2")], &["--check-config"]),
    ] {
        assert_effective(&stdout_of(variables, flags), expected);
    }
    let file = file_with(&format!("{expected}\n"));
    assert_effective(&stdout_of(&[], &["--check-config", "--config", path_of(&file)]), expected);
}

#[test]
fn a_filter_may_have_spaces_after_its_commas_like_any_list() {
    let print = stdout_of(&[], &["--check-config", "--log-level", "warn, servidor=info"]);
    assert_effective(&print, "log-level = \"warn,servidor=info\"");
}

#[test]
fn only_the_variables_of_known_settings_count() {
    // What Kubernetes injects for a service that is called servidor.
    let injected = [
        ("SERVIDOR_SERVICE_HOST", "10.0.0.1"),
        ("SERVIDOR_SERVICE_PORT", "8888"),
        ("SERVIDOR_PORT", "tcp://10.0.0.1:8888"),
        ("SERVIDOR_PORT_8888_TCP_ADDR", "10.0.0.1"),
        ("CLIENTE_INTERVAL", "nonsense"),
    ];
    let unset = stdout_of(&[], &["--check-config"]);
    assert_eq!(stdout_of(&injected, &["--check-config"]), unset);
    let empty = [("SERVIDOR_MAX_CONNECTIONS", ""), ("SERVIDOR_LISTEN", ""), ("SERVIDOR_LOG_LEVEL", "")];
    assert_eq!(stdout_of(&empty, &["--check-config"]), unset);
}

#[test]
fn a_misspelt_variable_causes_a_warning() {
    let misspelt =
        [("SERVIDOR_MAX_CONECTIONS", "7"), ("SERVDOR_LISTEN", "127.0.0.1:1"), ("SERVIDOR_ALOW", "")];
    let output = run(&misspelt, &["--check-config"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "servidor: SERVDOR_LISTEN is no variable of servidor, expected SERVIDOR_LISTEN?\n\
                    servidor: SERVIDOR_MAX_CONECTIONS is no variable of servidor, expected SERVIDOR_MAX_CONNECTIONS?\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);

    let daemon = start_with(&[], &misspelt);
    let warning = daemon.wait_for("unknown variable");
    assert_eq!((&warning["level"], &warning["variable"]), (&"WARN".into(), &"SERVDOR_LISTEN".into()));
    assert_eq!(warning["expected"], "SERVIDOR_LISTEN");
    daemon.wait_for_line("the other", |line| line["expected"] == "SERVIDOR_MAX_CONNECTIONS");
}

#[test]
fn defaults_are_those_of_the_manual() {
    let print = stdout_of(&[], &["--check-config"]);
    for line in [
        "listen = [\"127.0.0.1:8888\"]",
        "allow = [\"127.0.0.0/8\", \"::1/128\"]",
        "max-connections = 5",
        "overload = \"wait\"",
        "unterminated-wait = \"300ms\"",
        "idle-timeout = \"1m\"",
        "line-timeout = \"5s\"",
        "write-timeout = \"5s\"",
        "drain-timeout = \"2s\"",
        "metrics-listen = \"127.0.0.1:9888\"",
        "metrics-allow = [\"127.0.0.0/8\", \"::1/128\"]",
        "metrics-hosts = []",
        "log-level = \"info\"",
        "log-format = \"auto\"",
        "log-events-per-second = 50",
    ] {
        assert_effective(&print, line);
    }
    assert!(print.contains("\nworker-threads = "), "{print}");
}

#[test]
fn the_default_file_is_accepted_as_it_is_and_uncommented() {
    let plain = stdout_of(&[], &["--check-config"]);
    let default = stdout_of(&[], &["--default-config"]);
    let setting = |line: &str| {
        let (key, _) = line.strip_prefix('#')?.split_once(" = ")?;
        key.chars().all(|c| c.is_ascii_lowercase() || c == '-').then(|| key.to_owned())
    };
    let keys: Vec<String> = default.lines().filter_map(setting).collect();
    let expected: Vec<&str> = plain.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert_eq!(keys, expected, "every setting is in the file, once");

    let uncommented: String = default
        .lines()
        .map(|line| if setting(line).is_some() { &line[1..] } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    for text in [default, uncommented, plain.clone()] {
        let file = file_with(&text);
        assert_eq!(stdout_of(&[], &["--check-config", "--config", path_of(&file)]), plain, "from\n{text}");
    }
}

#[test]
fn help_and_version_are_complete() {
    let help = stdout_of(&[], &["--help"]);
    let settings = stdout_of(&[], &["--check-config"]);
    for line in settings.lines() {
        let key = line.split(' ').next().expect("a first word");
        assert!(help.contains(&format!("--{key}")), "no --{key} in\n{help}");
    }
    for flag in ["--config", "--check-config", "--default-config", "--check-health", "--version"] {
        assert!(help.contains(flag), "no {flag} in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "too wide:\n{help}");
    let version = stdout_of(&[], &["--version"]);
    assert!(version.starts_with(concat!("servidor ", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn output_that_cannot_be_printed_is_an_error() {
    for flag in ["--check-config", "--default-config"] {
        let full = File::options().write(true).open("/dev/full").expect("a device of every Linux");
        let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
        let child = command.arg(flag).env_clear().stdout(full).stderr(Stdio::piped()).spawn();
        let output = child.and_then(Child::wait_with_output).expect("the daemon starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("servidor: cannot write to standard output: No space left"), "{error}");
    }
}

#[test]
fn the_health_check_asks_the_running_daemon() {
    let health = |listen: &str| run(&[], &["--check-health", "--metrics-listen", listen]).status.code();
    let mut daemon =
        start(&["--metrics-listen", "0.0.0.0:0", "--drain-timeout", "60s", "--write-timeout", "60s"]);
    let port = daemon.metrics_address().port();
    let addresses = [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")];
    for address in &addresses {
        wait_until("it is ready", || health(address) == Some(0));
    }
    let clogged = Peer::clogged(daemon.address());
    daemon.signal(Signal::TERM);
    wait_until("it is stopping", || health(&addresses[0]) == Some(1));
    drop(clogged);
    daemon.wait();
    for address in &addresses {
        assert_eq!(health(address), Some(1), "nobody listens on {address}");
    }
    assert_eq!(health("off"), Some(78));
}
