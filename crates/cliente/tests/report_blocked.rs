//! `--count` and `cliente bench` whose reader does not read: a pipe that is full, as a terminal is that was stopped (Ctrl-S).

mod support;

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::Value;
use support::{CLIENTE, UNDISTURBED, serve};
use testkit::{DEADLINE, Signal, send_signal, wait_for_exit, wait_until};

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
    let (target, asked) = counted();
    let (process, reader) =
        start(&[&[&target, "--count", "1000000", "--interval", "1ms"], arguments].concat());
    for _ in 0..rounds {
        asked.recv_timeout(DEADLINE).expect("rounds go on");
    }
    (process, reader)
}

/// A process that prints into a full pipe.
fn start(arguments: &[&str]) -> (Child, PipeReader) {
    let (reader, writer) = full_pipe();
    let mut command = Command::new(CLIENTE);
    command.args(arguments);
    command.env_clear().envs([UNDISTURBED]).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let process = command.spawn().expect("it starts");
    // The command holds the pipe open.
    drop(command);
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

/// A bench of one request on each connection, and its server.
fn blocked_bench(requests: &str) -> (Child, PipeReader, Receiver<()>) {
    let (target, asked) = counted();
    let load =
        ["--connections", "1", "--connection", "fresh", "--warmup", "0s", "--json", "--requests", requests];
    let (process, reader) = start(&[&["bench", "--target", &target][..], &load].concat());
    (process, reader, asked)
}

#[test]
fn a_bench_measures_while_nobody_reads_and_the_reader_gets_the_whole_report() {
    let (mut process, mut reader, asked) = blocked_bench("100");
    for _ in 0..100 {
        asked.recv_timeout(DEADLINE).expect("it asks");
    }
    wait_until("the report waits for its reader", || is_writing_to_a_pipe(&process));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    let report: Value = serde_json::from_str(text.trim_start_matches('x')).expect("a whole report");
    assert_eq!((&report["right"], &report["passed"]), (&100.into(), &true.into()), "{report}");
    assert_eq!(wait_for_exit(&mut process).code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_bench_whose_report_nobody_reads() {
    let (mut process, _reader, asked) = blocked_bench("1000000");
    asked.recv_timeout(DEADLINE).expect("it asks");
    send_signal(&process, Signal::INT);
    wait_until("the report waits for its reader", || is_writing_to_a_pipe(&process));
    send_signal(&process, Signal::INT);
    assert_eq!(wait_for_exit(&mut process).code(), Some(130));
}

/// Whether one of its threads waits in the kernel for room in a pipe.
fn is_writing_to_a_pipe(process: &Child) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).expect("a child not waited for");
    // A thread may have ended meanwhile.
    let waits =
        |thread: io::Result<fs::DirEntry>| fs::read_to_string(thread.expect("a folder").path().join("wchan"));
    threads.map(waits).any(|wait| wait.is_ok_and(|wait| wait.contains("pipe_write")))
}
