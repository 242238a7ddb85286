//! Lines arrive whole, in order and all of them, or are counted; and nobody waits for the output.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, PipeReader, pipe};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::*;

/// Longer than any test.
const FOREVER: Duration = Duration::from_hours(1);

/// Passes on what is written at once.
struct Told(Sender<String>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).expect("whole characters");
        self.0.send(text.to_owned()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(lines: &Lines, line: &str) {
    lines.make_writer().write_all(line.as_bytes()).expect("it takes or counts every line");
}

/// Logs so many lines on each of two threads, that wait for nothing.
fn log_on_two_threads(background: &Background, count: u64) {
    thread::scope(|scope| {
        for name in ["left", "right"] {
            let lines = background.lines();
            scope.spawn(move || (0..count).for_each(|number| log(&lines, &format!("{name} {number} end\n"))));
        }
    });
}

/// How many lines come to the end of the pipe; each must be whole and in the order of its thread.
fn count_whole_lines(pipe: PipeReader) -> u64 {
    let mut last = BTreeMap::new();
    let mut count = 0;
    for line in BufReader::new(pipe).lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let [name @ ("left" | "right"), number, "end"] = words[..] else { panic!("{line:?} is no line") };
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("{line:?} is no line"));
        let before = last.insert(name.to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{line:?} after {before:?}");
        count += 1;
    }
    count
}

#[test]
fn all_lines_are_written_at_the_end() {
    let (reader, writer) = pipe().expect("a pipe");
    let reading = thread::spawn(|| count_whole_lines(reader));
    let background = Background::start(writer, FOREVER);
    log_on_two_threads(&background, 5000);
    assert_eq!(background.lost(), 0, "they fit into the buffer, were it alone");
    drop(background);
    assert_eq!(reading.join().expect("only whole lines"), 10_000);
}

#[test]
fn a_blocked_output_blocks_nobody_and_every_line_that_is_lost_is_counted() {
    let (reader, writer) = pipe().expect("a pipe");
    let background = Background::start(writer, GATHERING);
    log_on_two_threads(&background, 50_000);
    let lines = background.lines();
    let lost = background.lost();
    assert!(lost > 0, "more than the buffer and the pipe hold");
    // It gives up waiting, and the thread goes on where the pipe is read after all.
    drop(background);
    log(&lines, "too late\n");
    assert_eq!(lines.0.lost.load(Ordering::Relaxed), lost + 1);
    assert_eq!(count_whole_lines(reader) + lost, 100_000);
}

#[test]
fn a_failing_output_loses_lines_and_counts_them() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let background = Background::start(writer, GATHERING);
    log_on_two_threads(&background, 100);
    let shared = Arc::clone(&background.shared);
    drop(background);
    assert_eq!(shared.lost.load(Ordering::Relaxed), 200);
}

#[test]
fn a_line_after_a_pause_does_not_wait_and_those_after_it_wait_for_each_other() {
    let (sender, written) = channel();
    let background = Background::start(Told(sender), FOREVER);
    let lines = background.lines();
    log(&lines, "first\n");
    assert_eq!(written.recv(), Ok("first\n".into()));
    log(&lines, "second\n");
    log(&lines, "third\n");
    drop(background);
    assert_eq!(written.iter().collect::<String>(), "second\nthird\n");
}

#[test]
fn lines_that_wait_for_others_are_written_in_the_end() {
    let (sender, written) = channel();
    let background = Background::start(Told(sender), GATHERING);
    let lines = background.lines();
    for line in ["first\n", "second\n", "third\n"] {
        log(&lines, line);
        assert_eq!(written.recv(), Ok(line.into()));
    }
}

#[test]
fn an_error_does_not_wait_nor_do_many_lines() {
    let (sender, written) = channel();
    let background = Background::start(Told(sender), FOREVER);
    let lines = background.lines();
    log(&lines, "first\n");
    assert_eq!(written.recv(), Ok("first\n".into()));

    log(&lines, "second\n");
    let log_text = tracing_subscriber::fmt().with_writer(background.lines());
    let log_text = log_text.without_time().with_target(false).with_ansi(false).finish();
    tracing::subscriber::with_default(log_text, || tracing::error!("third"));
    assert_eq!(written.recv(), Ok("second\nERROR third\n".into()));

    let line = format!("{}\n", "x".repeat(999));
    let mut logged = 0;
    while logged < ENOUGH {
        log(&lines, &line);
        logged += line.len();
    }
    let mut received = 0;
    while received < logged {
        received += written.recv().expect("it is written").len();
    }
}
