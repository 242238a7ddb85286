//! The log in a file, as text, and for the journal.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Peer, Signal, send_signal, wait_for_exit, wait_until};

/// Starts the daemon with its log in a file, lets it answer and reject one request each, stops it, and returns the
/// lines of the log.
fn log_of_a_short_life(prepare: impl FnOnce(&mut Command, &File)) -> Vec<String> {
    let log = NamedTempFile::new().expect("a temporary file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_servidor"));
    command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "off"]).env_clear();
    prepare(&mut command, log.as_file());
    let stderr = log.reopen().expect("the file can be opened again");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
    let mut child = KillOnDrop(child);
    let read = || fs::read_to_string(log.path()).expect("a log in UTF-8");

    let mut address = None;
    wait_until("it tells its address", || {
        address = read().split(['"', '=', ' ', '\n']).find_map(|word| word.parse::<SocketAddr>().ok());
        address.is_some()
    });
    let mut peer = Peer::connect(address.expect("found above"));
    assert_eq!(peer.ask("2\n"), "PAR\n");
    assert!(peer.ask("x\n").starts_with("ERRO "));
    drop(peer);
    wait_until("the connection's end is told", || read().contains("connection closed"));
    send_signal(&child.0, Signal::TERM);
    assert_eq!(wait_for_exit(&mut child.0).code(), Some(0));
    read().lines().map(str::to_owned).collect()
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn message_of(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line["message"].as_str().expect("a message").to_owned()
}

#[test]
fn auto_is_json_where_there_is_no_terminal() {
    let lines = log_of_a_short_life(|_, _| {});
    let messages: Vec<_> = lines.iter().map(|line| message_of(line)).collect();
    for expected in ["listening", "number classified", "request rejected", "connection closed", "stopped"] {
        assert!(messages.iter().any(|message| message == expected), "no {expected} in {lines:#?}");
    }
}

#[test]
fn the_common_fields_of_a_line_stand_around_its_own() {
    let lines = log_of_a_short_life(|_, _| {});
    let line = lines.iter().find(|line| message_of(line) == "number classified").expect("the event");
    let (time, rest) = line.strip_prefix("{\"timestamp\":\"").expect("the time comes first").split_at(27);
    assert!(time.ends_with('Z'), "{line}");
    let (level, rest) = rest.split_once(r#","connection":"#).expect("the connection comes first of its own");
    assert_eq!(level, r#"","level":"INFO","message":"number classified""#, "{line}");
    let (_, rest) = rest.split_once(r#"","number":"#).expect("the number follows the peer");
    assert_eq!(rest, r#""2","digits":1,"class":"even","target":"servidor::log"}"#, "{line}");
}

#[test]
fn lines_for_the_journal_start_with_a_priority() {
    let lines = log_of_a_short_life(|command, log| {
        let stream = log.metadata().expect("an open file");
        command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    });
    for line in lines {
        let (priority, json) = line.split_at(3);
        let expected = if message_of(json) == "request rejected" { "<4>" } else { "<6>" };
        assert_eq!(priority, expected, "{line}");
    }
}

#[test]
fn wrong_settings_are_errors_to_the_journal() {
    let log = NamedTempFile::new().expect("a temporary file");
    let stream = log.as_file().metadata().expect("an open file");
    let status = Command::new(env!("CARGO_BIN_EXE_servidor"))
        .args(["--overload", "maybe"])
        .env_clear()
        .env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()))
        .stderr(log.reopen().expect("the file can be opened again"))
        .status()
        .expect("it runs");
    assert_eq!(status.code(), Some(78));
    let told = fs::read_to_string(log.path()).expect("text");
    assert_eq!(told, "<3>servidor: 1 setting is wrong\n<3>  --overload maybe: expected wait or refuse\n");
}

#[test]
fn another_process_s_journal_changes_nothing() {
    let lines = log_of_a_short_life(|command, _| {
        command.env("JOURNAL_STREAM", "1:1");
    });
    for line in lines {
        message_of(&line);
    }
}

#[test]
fn text_is_for_people_and_has_no_colours_in_a_file() {
    let lines = log_of_a_short_life(|command, _| {
        command.args(["--log-format", "text"]);
    });
    let line = lines.iter().find(|line| line.contains("number classified")).expect("the event");
    assert!(!line.starts_with('{'), "{line}");
    let fields = " number=2 digits=1 class=even";
    assert!(line.ends_with(fields) && line.contains(" peer=127.0.0.1:"), "{line}");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:#?}");
}

/// What a daemon that cannot start prints on a terminal.
fn last_words_on_a_terminal(variables: &[(&str, &str)]) -> String {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (mut screen, terminal) = testkit::terminal();
    let status = Command::new(env!("CARGO_BIN_EXE_servidor"))
        .args(["--metrics-listen", "off", "--listen", &address])
        .env_clear()
        .envs(variables.iter().copied())
        .stderr(terminal)
        .status()
        .expect("it starts");
    assert_eq!(status.code(), Some(69));
    let mut text = Vec::new();
    // What is read after the last process has closed its terminal is an error.
    let _ = screen.read_to_end(&mut text);
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn auto_is_text_on_a_terminal_in_colour_unless_that_is_not_wanted() {
    for (variables, is_coloured) in [
        (&[][..], true),
        (&[("TERM", "xterm")], true),
        (&[("TERM", "dumb")], false),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1")], false),
    ] {
        let text = last_words_on_a_terminal(variables);
        assert!(text.contains("cannot be bound") && !text.starts_with('{'), "{text:?}");
        assert_eq!(text.contains('\x1b'), is_coloured, "{variables:?}: {text:?}");
    }
}
