//! `--count` whose reader does not read: a pipe that is full, as a terminal is that was stopped (Ctrl-S).

mod support;

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::{OFlags, fcntl_setfl};
use support::{CLIENTE, UNDISTURBED, serve};
use testkit::{DEADLINE, Signal, send_signal, wait_for_exit};

/// More lines than may wait for the reader.
const ROUNDS: usize = 1100;

/// A pipe into which nothing more goes until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a pipe");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("a pipe");
    (reader, writer)
}

/// A server that says when it was asked.
fn counted() -> (String, Receiver<()>) {
    let (sender, asked) = channel();
    let address = serve(move |mut request| {
        let reply = request.right();
        request.say(&reply);
        // A test that is over takes no more.
        let _ = sender.send(());
    });
    (address.to_string(), asked)
}

/// A run that prints into a full pipe, after so many rounds.
fn blocked(arguments: &[&str], rounds: usize) -> (Child, PipeReader) {
    let (reader, writer) = full_pipe();
    let (target, asked) = counted();
    let mut command = Command::new(CLIENTE);
    command.args([&[&target, "--count", "1000000", "--interval", "1ms"], arguments].concat());
    command.env_clear().envs([UNDISTURBED]).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let process = command.spawn().expect("it starts");
    // The command holds the pipe open.
    drop(command);
    for _ in 0..rounds {
        asked.recv_timeout(DEADLINE).expect("rounds go on");
    }
    (process, reader)
}

#[test]
fn rounds_go_on_while_nobody_reads_and_the_reader_gets_the_summary_in_the_end() {
    let (mut process, mut reader) = blocked(&[], ROUNDS);
    send_signal(&process, Signal::INT);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    assert_eq!(wait_for_exit(&mut process).code(), Some(0));
    let not_shown =
        text.lines().find_map(|line| line.strip_suffix(" not shown: the output did not take them in time)"));
    assert!(not_shown.is_some_and(|lines| lines.starts_with('(')), "{text}");
    let summary = text.lines().find(|line| line.contains(" right, 0 failed, 0.0 % loss")).expect(&text);
    let rounds = summary.split(' ').next().and_then(|rounds| rounds.parse::<usize>().ok());
    assert!(rounds.is_some_and(|rounds| rounds >= ROUNDS), "{summary}");
}

#[test]
fn a_second_signal_does_not_wait_for_the_reader() {
    let (mut process, _reader) =
        blocked(&["--log-level", "info,cliente::observe=error", "--log-format", "json"], 1);
    send_signal(&process, Signal::INT);
    let mut log = process.stderr.take().expect("it is piped");
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"draining") {
        log.read_exact(&mut byte).expect("the log says that it stops");
        text.extend(byte);
    }
    send_signal(&process, Signal::INT);
    assert_eq!(wait_for_exit(&mut process).code(), Some(130));
}
