//! Signals other than the stop, and the exit status of a start that fails.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use common::start;
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Daemon, Peer, Signal, request, scrape, wait_until};

/// A daemon with its settings in a file that the test rewrites.
struct Reloadable {
    daemon: Daemon,
    file: NamedTempFile,
}

impl Reloadable {
    fn start(settings: &str) -> Self {
        let file = NamedTempFile::new().expect("a temporary file");
        fs::write(&file, settings).expect("the file can be written");
        let daemon = start(&["--config", file.path().to_str().expect("a path in UTF-8")]);
        // By now it has read the file, and handles signals.
        daemon.wait_for("listening");
        Self { daemon, file }
    }

    /// Changes the file, signals the daemon, and waits for the log line with the result.
    fn reload(&self, settings: &str, outcome: &str) -> Value {
        let before = self.daemon.lines_with(outcome).len();
        fs::write(&self.file, settings).expect("the file can be written");
        self.daemon.signal(Signal::HUP);
        wait_until(outcome, || self.daemon.lines_with(outcome).len() > before);
        self.daemon.lines_with(outcome).remove(before)
    }

    fn count(&self, name: &str) -> u64 {
        scrape(self.daemon.metrics_address()).count(name, &[])
    }
}

#[test]
fn a_reload_raises_and_lowers_the_limit() {
    let reloadable = Reloadable::start("max-connections = 1\n");
    let address = reloadable.daemon.address();
    let mut first = Peer::connect(address);
    assert_eq!(first.ask("2\n"), "PAR\n");
    let mut waiting = Peer::connect(address);
    waiting.send("3\n");

    let line = reloadable.reload("max-connections = 2\n", "reloaded");
    assert!(line["changed"].to_string().contains("max-connections"), "{line}");
    assert_eq!(waiting.line(), "ÍMPAR\n");
    assert_eq!(reloadable.count("servidor_connections_limit"), 2);

    reloadable.reload("max-connections = 1\n", "reloaded");
    wait_until("the limit is in force", || reloadable.count("servidor_connections_limit") == 1);
    // No connection is closed, but the next one waits until there are fewer than the new limit.
    assert_eq!((first.ask("4\n"), waiting.ask("5\n")), ("PAR\n".into(), "ÍMPAR\n".into()));
    let mut third = Peer::connect(address);
    third.send("6\n");
    drop(first);
    wait_until("the first has left", || reloadable.count("servidor_connections_active") == 1);
    assert_eq!(reloadable.count("servidor_connections_total"), 2);
    drop(waiting);
    assert_eq!(third.line(), "PAR\n");
}

#[test]
fn a_reload_changes_who_is_allowed() {
    let reloadable = Reloadable::start("");
    let address = reloadable.daemon.address();
    let mut served = Peer::connect(address);
    assert_eq!(served.ask("2\n"), "PAR\n");
    reloadable.reload("allow = [\"127.0.0.2/32\"]\n", "reloaded");
    assert_eq!(Peer::connect(address).rest(), "");
    assert_eq!(served.rest(), "", "open connections are closed too");
    assert_eq!(reloadable.daemon.wait_for("connection closed")["reason"], "not_allowed");
}

#[test]
fn a_reload_changes_timeouts_of_new_connections() {
    let reloadable = Reloadable::start("idle-timeout = \"10m\"\n");
    reloadable.reload("idle-timeout = \"100ms\"\n", "reloaded");
    assert_eq!(Peer::connect(reloadable.daemon.address()).rest(), "");
    assert_eq!(reloadable.daemon.wait_for("connection closed")["reason"], "idle");
}

#[test]
fn a_reload_changes_the_log_level() {
    let reloadable = Reloadable::start("");
    let daemon = &reloadable.daemon;
    // There is no line about this reload, because it turns off its own.
    fs::write(&reloadable.file, "log-level = \"warn\"\nmax-connections = 9\n")
        .expect("the file can be written");
    daemon.signal(Signal::HUP);
    wait_until("the reload", || reloadable.count("servidor_connections_limit") == 9);

    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    assert!(peer.ask("x\n").starts_with("ERRO "));
    daemon.wait_for("request rejected");
    assert_eq!(daemon.lines_with("number classified"), [] as [Value; 0]);

    reloadable.reload("log-level = \"info\"\n", "reloaded");
    assert_eq!(peer.ask("2\n"), "PAR\n");
    daemon.wait_for("number classified");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_so() {
    let reloadable = Reloadable::start("max-connections = 3\n");
    for wrong in ["max-connections = 0\n", "max-connections = 4\nmax-conections = 5\n", "allow = [\n"] {
        let line = reloadable.reload(wrong, "reload failed");
        assert_eq!(line["level"], "ERROR", "{line}");
        let error = line["error"].as_str().expect("what is wrong");
        assert!(error.contains(reloadable.file.path().to_str().expect("UTF-8")), "{line}");
        assert_eq!(reloadable.count("servidor_config_last_reload_successful"), 0);
        assert_eq!(reloadable.count("servidor_connections_limit"), 3);
        assert_eq!(Peer::connect(reloadable.daemon.address()).ask("2\n"), "PAR\n");
    }
    reloadable.reload("max-connections = 4\n", "reloaded");
    assert_eq!(reloadable.count("servidor_config_last_reload_successful"), 1);
    assert_eq!(reloadable.count("servidor_connections_limit"), 4);
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let reloadable = Reloadable::start("worker-threads = 1\n");
    let line = reloadable.reload("worker-threads = 2\nmax-connections = 6\n", "setting needs a restart");
    assert_eq!((&line["setting"], &line["level"]), (&"worker-threads".into(), &"WARN".into()), "{line}");
    reloadable.daemon.wait_for("reloaded");
    wait_until("the rest is applied", || reloadable.count("servidor_connections_limit") == 6);
    let page = request(reloadable.daemon.metrics_address(), "GET", "/").body;
    for in_force in ["<dt>worker-threads</dt><dd>1</dd>", "<dt>max-connections</dt><dd>6</dd>"] {
        assert!(page.contains(in_force), "{in_force} is not in {page}");
    }
}

#[test]
fn sigusr1_logs_the_state() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    daemon.signal(Signal::USR1);
    let state = daemon.wait_for("state");
    assert_eq!((&state["level"], &state["connections"]), (&"INFO".into(), &1.into()), "{state}");
    assert_eq!(peer.ask("3\n"), "ÍMPAR\n", "the work goes on");
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    command.args(["--metrics-listen", "off"]).args(arguments).env_clear();
    command.output().expect("the daemon starts")
}

#[test]
fn an_address_in_use_is_exit_status_69() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("bound").to_string();
    for (setting, flags) in [
        ("listen", ["--listen", &taken, "--metrics-listen=off"]),
        ("metrics-listen", ["--listen=127.0.0.1:0", "--metrics-listen", &taken]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_servidor")).args(flags).env_clear().output();
        let output = output.expect("the daemon starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{error}");
        assert!(
            error.contains(&format!("\"{setting} = {taken}: cannot be bound: Address already in use")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_setting_is_exit_status_78() {
    for arguments in [
        ["--max-connections", "0"],
        ["--no-such-flag", "1"],
        ["--config", "/no/such/file.toml"],
        ["--config", "/"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Runs the daemon to its end with a limit of 300 open files, and returns its output and its error.
fn run_with_few_files(arguments: &[&str]) -> (Output, String) {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 300; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_servidor")])
        .args(["--listen", "127.0.0.1:0", "--metrics-listen", "off", "--worker-threads", "1"])
        .args(arguments)
        .env_clear()
        .output()
        .expect("sh starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, error)
}

#[test]
fn more_permits_than_open_files_is_exit_status_78() {
    let problem = "max-connections = 1000: 1258 open files are needed, but the hard limit is 300 \
                   (LimitNOFILE, ulimit -Hn)";
    let (started, error) = run_with_few_files(&["--max-connections", "1000"]);
    assert_eq!(started.status.code(), Some(78), "{error}");
    assert!(error.contains(&format!("\"{problem}\"")), "{error}");

    let (checked, error) = run_with_few_files(&["--max-connections", "1000", "--check-config"]);
    assert_eq!((checked.status.code(), checked.stdout.as_slice()), (Some(78), &b""[..]), "{error}");
    assert_eq!(error, format!("servidor: 1 setting is wrong\n  {problem}\n"));

    let (checked, error) = run_with_few_files(&["--max-connections", "42", "--check-config"]);
    assert_eq!((checked.status.code(), error.as_str()), (Some(0), ""), "42, 2 and 256 are 300");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("max-connections = 42\n"));
}
