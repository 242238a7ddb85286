//! Settings of `cliente`: what is refused and how it is told, what is in force, and what a file may say.

mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use support::CLIENTE;
use tempfile::TempDir;
use testkit::wait_until;

fn cliente(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(CLIENTE);
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().expect("it starts and ends")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

const TARGET: &str = "expected a host and a port, such as 127.0.0.1:8888, [::1]:8888 or servidor.example:8888, or srv:_canary._tcp.example";
const PERIOD: &str = "expected a duration from 1ms to 365days, such as 200ms, 10s or 1m";

#[test]
fn wrong_values_are_refused() {
    let many: Vec<String> = (1..=21).map(|millis| format!("{millis}ms")).collect();
    let many = many.join(",");
    for (name, value, problem) in [
        ("target", "servidor", TARGET),
        ("target", "servidor:0", TARGET),
        ("target", "::1:8888", TARGET),
        ("target", "http://servidor:80", TARGET),
        ("target", "a:1,b:2,a:1", "\"a:1\" is given twice"),
        ("interval", "0s", PERIOD),
        ("interval", "10", PERIOD),
        ("connection", "pooled", "expected fresh or kept"),
        ("addresses", "some", "expected first or all"),
        ("address-family", "inet", "expected any, ipv4 or ipv6"),
        (
            "source-address",
            "eth0",
            "expected an address of this host, such as 192.0.2.7 or 2001:db8::7, or none",
        ),
        ("resolve-max-age", "0s", PERIOD),
        ("target", "srv:_canary._tcp.example:8888", TARGET),
        ("connect-timeout", "-1s", PERIOD),
        ("reply-timeout", "soon", PERIOD),
        ("drain-timeout", "0ms", PERIOD),
        ("fan-out", "0", "expected a whole number from 1 to 1000, or all"),
        ("node", "two words", "expected the name or address of this host, as the targets have it, or auto"),
        ("detail", "some", "expected full or compact"),
        ("buckets", "1ms,1ns", "\"1ns\": expected a duration from 1us to 1h, such as 500us, 20ms or 1s"),
        ("buckets", "2ms,1ms", "\"1ms\": expected a bound above the one before it"),
        ("buckets", &many, "expected at most 20 bounds, not 21"),
        ("worker-threads", "0", "expected a whole number from 1 to 1024, or auto"),
    ] {
        let output = cliente(&[&format!("--{name}"), value], &[]);
        assert_eq!(output.status.code(), Some(78), "--{name} {value}");
        let expected = format!("cliente: 1 setting is wrong\n  --{name} {value}: {problem}\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("cliente.toml");
    fs::write(&file, "intervall = \"1s\"\ntarget = [\"a:1\", 7]\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let variables = [("CLIENTE_CONNECTION", "none"), ("CLIENTE_SERVICE_HOST", "of Kubernetes")];
    let output = cliente(&["--config", file, "--reply-timeout", "0s"], &variables);
    assert_eq!(output.status.code(), Some(78));
    let expected = format!(
        "cliente: 4 settings are wrong\n  \
         {file}:1:1: unknown key `intervall`, expected `interval`?\n  \
         {file}:2:10: target = [\"a:1\", 7]: \"7\": {TARGET}\n  \
         CLIENTE_CONNECTION=none: expected fresh or kept\n  \
         --reply-timeout 0s: {PERIOD}\n"
    );
    assert_eq!(stderr(&output), expected);
}

#[test]
fn no_rounds_are_no_number_of_rounds() {
    for count in ["0", "-1", "many", ""] {
        let output = cliente(&["--count", count], &[]);
        assert_eq!(output.status.code(), Some(78), "--count {count}");
        assert!(stderr(&output).contains("--count <N>"), "{}", stderr(&output));
    }
}

#[test]
fn the_settings_in_force_are_shown() {
    let output = cliente(
        &["--check-config", "--target", "[::1]:8888", "--target", "servidor.example:9"],
        &[
            ("CLIENTE_INTERVAL", "90s"),
            ("CLIENTE_CONNECTION", ""),
            ("CLIENTE_BUCKETS", "1ms,2000ms"),
            ("CLIENTE_FAN_OUT", "10"),
        ],
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "target = [\"[::1]:8888\", \"servidor.example:9\"]\n\
         target-file = \"\"\n\
         fan-out = 10\n\
         node = \"auto\"\n\
         interval = \"1m 30s\"\n\
         connection = \"fresh\"\n\
         address-family = \"any\"\n\
         addresses = \"first\"\n\
         source-address = \"none\"\n\
         resolve-max-age = \"10s\"\n\
         connect-timeout = \"3s\"\n\
         reply-timeout = \"3s\"\n\
         stall-threshold = \"1ms\"\n\
         drain-timeout = \"5s\"\n\
         detail = \"full\"\n\
         buckets = [\"1ms\", \"2s\"]\n\
         metrics-listen = \"127.0.0.1:9889\"\n\
         metrics-allow = [\"127.0.0.0/8\", \"::1/128\"]\n\
         metrics-hosts = []\n\
         log-level = \"info\"\n\
         log-format = \"auto\"\n\
         log-events-per-second = 50\n\
         worker-threads = 1\n"
    );
}

/// A file of this content, and its path.
fn target_file(content: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("targets.json");
    fs::write(&file, content).expect("a file");
    let path = file.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

#[test]
fn with_a_target_file_only_named_targets_are_added() {
    let (_folder, path) = target_file(r#"[{"targets": ["a:1"]}]"#);
    let output = cliente(&["--check-config", "--target-file", &path], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("target = []\ntarget-file = \"{path}\"\n")), "{output:?}");
    let output = cliente(&["--check-config", "--target-file", &path, "--target", "b:1"], &[]);
    assert!(stdout(&output).starts_with("target = [\"b:1\"]\n"), "{output:?}");
}

#[test]
fn a_target_file_that_is_wrong_or_missing_is_no_start() {
    let (folder, path) = target_file("[{\"targets\": [\n  \"a:1\",\n  \"nowhere\"]}]");
    let missing = folder.path().join("none.json");
    let missing = missing.to_str().expect("UTF-8");
    for arguments in [[].as_slice(), &["--check-config"]] {
        let output = cliente(&[arguments, &["--target-file", &path]].concat(), &[]);
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        let expected = format!(
            "cliente: 1 setting is wrong\n  --target-file {path}: {path}:3:11: \"nowhere\": {TARGET}\n"
        );
        assert_eq!(stderr(&output), expected);
        let output = cliente(&[arguments, &["--target-file", missing]].concat(), &[]);
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        assert!(stderr(&output).contains("none.json: expected a readable file: No such file"), "{output:?}");
    }
}

#[test]
fn a_target_in_both_places_or_in_neither_is_an_error() {
    let (_folder, path) =
        target_file(r#"[{"targets": ["a:1", "b:1"], "labels": {"zone": "x"}}, {"targets": ["b:1"]}]"#);
    let output = cliente(&["--check-config", "--target-file", &path, "--target", "a:1"], &[]);
    assert_eq!(output.status.code(), Some(78));
    for twice in ["\"a:1\" is given twice", "\"b:1\" is given twice"] {
        assert!(stderr(&output).contains(twice), "{output:?}");
    }
    let (_folder, empty) = target_file("[]");
    let output = cliente(&["--check-config", "--target-file", &empty], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("expected at least one target"), "{output:?}");
}

#[test]
fn a_hard_limit_of_files_below_what_the_targets_need_is_told() {
    let names: Vec<String> = (1..=200).map(|port| format!("\"a:{port}\"")).collect();
    let (_folder, path) = target_file(&format!("[{{\"targets\": [{}]}}]", names.join(",")));
    for (hard, status) in [("455", 78), ("456", 0)] {
        let command = format!("ulimit -n {hard}; exec {CLIENTE} --check-config --target-file {path}");
        let output = Command::new("sh").args(["-c", &command]).output().expect("a shell");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let expected =
            "target and target-file = 200 targets: 456 open files are needed, but the hard limit is 455";
        assert_eq!(stderr(&output).contains(expected), status == 78, "{output:?}");
    }
}

#[test]
fn the_soft_limit_of_files_is_raised_to_what_the_targets_need() {
    let names: Vec<String> = (1..=50).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let (_folder, path) = target_file(&format!("[{{\"targets\": [{}]}}]", names.join(",")));
    let command =
        format!("ulimit -Sn 100; exec {CLIENTE} --metrics-listen off --interval 1h --target-file {path}");
    let mut daemon =
        Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).spawn().expect("a shell");
    let limits = format!("/proc/{}/limits", daemon.id());
    wait_until("the soft limit is 356", || {
        let limits = fs::read_to_string(&limits).expect("a child of this process");
        let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        files.split_whitespace().nth(3) == Some("356")
    });
    daemon.kill().and_then(|()| daemon.wait()).expect("a child of this process");
}

#[test]
fn a_limited_run_is_quiet_unless_flags_say_otherwise() {
    // In the daemon's container, its variables are set.
    let of_the_daemon = [("CLIENTE_METRICS_LISTEN", "127.0.0.1:1"), ("CLIENTE_LOG_LEVEL", "info")];
    for variables in [[].as_slice(), &of_the_daemon] {
        let output = cliente(&["--check-config", "--count", "3"], variables);
        assert!(stdout(&output).contains("\nmetrics-listen = \"off\"\n"), "{output:?}");
        assert!(stdout(&output).contains("\nlog-level = \"warn,cliente::observe=error\"\n"), "{output:?}");
    }
    let set = ["--check-config", "--count", "3", "--metrics-listen", "127.0.0.1:1", "--log-level", "info"];
    let output = cliente(&set, &[]);
    assert!(stdout(&output).contains("\nmetrics-listen = \"127.0.0.1:1\"\n"), "{output:?}");
    assert!(stdout(&output).contains("\nlog-level = \"info\"\n"), "{output:?}");
}

#[test]
fn a_limited_run_has_an_interval_of_a_second_unless_one_is_given() {
    for (flags, variables, interval) in [
        (&[][..], &[][..], "10s"),
        (&["--count", "3"], &[], "1s"),
        (&["--count", "3", "--interval", "5s"], &[], "5s"),
        (&["--count", "3"], &[("CLIENTE_INTERVAL", "7s")], "7s"),
    ] {
        let output = cliente(&[&["--check-config"], flags].concat(), variables);
        let expected = format!("\ninterval = \"{interval}\"\n");
        assert!(stdout(&output).contains(&expected), "{flags:?} {variables:?}: {output:?}");
    }
}

#[test]
fn servers_are_named_without_a_flag() {
    let variables = [("CLIENTE_TARGET", "variable.example:1")];
    for flags in [&["a.example:1", "[::1]:2"][..], &["a.example:1", "--count", "3", "[::1]:2"]] {
        let output = cliente(&[&["--check-config"], flags].concat(), &variables);
        assert!(stdout(&output).starts_with("target = [\"a.example:1\", \"[::1]:2\"]\n"), "{output:?}");
    }
    for (flags, problem) in [
        (&["a.example"][..], TARGET),
        (&["a.example:1", "--target", "b.example:1"], "cannot be used with"),
        (&["a.example:1", "a.example:1"], "\"a.example:1\" is given twice"),
        (&["-q"], "--count <N>"),
        (&["--json"], "--count <N>"),
    ] {
        let output = cliente(flags, &[]);
        assert_eq!(output.status.code(), Some(78), "{flags:?}");
        assert!(stderr(&output).contains(problem), "{problem} in {}", stderr(&output));
    }
}

#[test]
fn the_default_file_says_what_is_the_default() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("cliente.toml");
    let text = cliente(&["--default-config"], &[]);
    let uncommented: String = stdout(&text)
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.contains(" = ") && !line.starts_with(' '))
        .flat_map(|line| [line, "\n"])
        .collect();
    fs::write(&file, &uncommented).expect("a file");
    let from_file = cliente(&["--check-config", "--config", file.to_str().expect("UTF-8")], &[]);
    assert_eq!(from_file.status.code(), Some(0), "{}\n{uncommented}", stderr(&from_file));
    assert_eq!(stdout(&from_file), stdout(&cliente(&["--check-config"], &[])));
    assert_eq!(uncommented.lines().count(), 23);
}

#[test]
fn help_tells_this_daemons_defaults() {
    let output = cliente(&["--help"], &[]);
    for default in ["[default: 127.0.0.1:9889; not reloaded]", "[default: 1; not reloaded]", "--count <N>"] {
        assert!(stdout(&output).contains(default), "{default} in\n{}", stdout(&output));
    }
}
