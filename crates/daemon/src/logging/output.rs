//! The output of the log, which takes lines whole or counts them as lost.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What a pipe takes without letting other processes in between, if they write to it too: `PIPE_BUF`.
const INDIVISIBLE: usize = 4096;

/// Lines, one after the other.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Batch {
    /// No lines yet. Memory is used only as lines come.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many lines end within so many bytes.
    fn lines_within(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// What to write at once after so many bytes: as many whole lines as stay together, or a single longer one.
    fn next(&self, written: usize) -> &[u8] {
        let lines = self.lines_within(written + INDIVISIBLE).max(self.lines_within(written) + 1);
        &self.bytes[written..self.ends[lines - 1]]
    }
}

/// Where lines are written.
#[derive(Debug)]
pub(super) struct Output<W> {
    writer: W,
    /// Whether a failure has left a part of a line behind, which the next line must not be joined to.
    torn: bool,
}

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, torn: false }
    }

    /// Writes lines; says how many of them were lost.
    pub(super) fn write(&mut self, lines: &Batch) -> usize {
        let mut written = 0;
        if self.torn {
            self.torn = self.writer.write_all(b"\n").is_err();
        }
        while written < lines.len() {
            match self.writer.write(lines.next(written)) {
                Ok(count @ 1..) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        let whole = lines.lines_within(written);
        self.torn |= written > whole.checked_sub(1).map_or(0, |last| lines.ends[last]);
        lines.ends.len() - whole
    }
}

/// A descriptor, standard error's for example, without the lock of the standard library's: who waits for that would wait
/// for a slow reader.
#[derive(Debug)]
pub(super) struct Descriptor<F>(pub(super) F);

impl<F: AsFd> Write for Descriptor<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                // Another process, which shares it, has made it so.
                Err(Errno::AGAIN) => poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?,
                result => return Ok(result?),
            };
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};
    use std::thread;

    use super::*;

    /// Takes so many bytes, in pieces of five, between which it is interrupted; then fails.
    struct Limited {
        taken: Vec<u8>,
        limit: usize,
        interrupted: bool,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = bytes.len().min(5).min(self.limit - self.taken.len());
            self.taken.extend(&bytes[..count]);
            if count == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn limited(limit: usize) -> Output<Limited> {
        Output::new(Limited { taken: Vec::new(), limit, interrupted: false })
    }

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::with_capacity(0);
        for line in lines {
            batch.push(line.as_bytes());
        }
        batch
    }

    #[test]
    fn lines_taken_in_pieces_are_not_lost() {
        let mut output = limited(100);
        assert_eq!(output.write(&batch(&["the first\n", "the\nsecond\n"])), 0);
        assert_eq!(output.writer.taken, b"the first\nthe\nsecond\n");
    }

    #[test]
    fn lines_not_taken_whole_are_lost_and_the_next_ones_begin_anew() {
        let lines = batch(&["one\n", "two\nthree\n", "four\n"]);
        for (limit, lost, taken) in [
            (0, 3, ""),
            (3, 3, "one\n"),
            (4, 2, "one\n"),
            (9, 2, "one\ntwo\nt\n"),
            (14, 1, "one\ntwo\nthree\n"),
        ] {
            let mut output = limited(limit);
            assert_eq!(output.write(&lines), lost, "{limit}");
            assert_eq!(output.write(&batch(&["five\n"])), 1, "it still takes nothing");
            output.writer.limit = 100;
            assert_eq!(output.write(&batch(&["six\n"])), 0);
            assert_eq!(output.writer.taken, format!("{taken}six\n").as_bytes(), "{limit}");
        }
    }

    #[test]
    fn what_is_written_at_once_is_whole_lines_of_a_pipe_s_indivisible_length_or_one_longer_line() {
        let long = "x".repeat(INDIVISIBLE);
        let half = "y".repeat(INDIVISIBLE / 2);
        let batch = batch(&[&half, &half, "z", &long, "z", &long, &long]);
        let mut written = 0;
        let mut lengths = Vec::new();
        while written < batch.len() {
            lengths.push(batch.next(written).len());
            written += batch.next(written).len();
        }
        assert_eq!(lengths, [INDIVISIBLE, 1, INDIVISIBLE, 1, INDIVISIBLE, INDIVISIBLE]);
    }

    #[test]
    fn a_pipe_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("a pipe can be made so");
        let line = "x".repeat(1_000_000);
        let lines = batch(&[&line]);
        let writing = thread::spawn(move || Output::new(Descriptor(writer)).write(&lines));
        let mut read = String::new();
        reader.read_to_string(&mut read).expect("text");
        assert_eq!(writing.join().expect("no panic"), 0);
        assert!(read == line, "{} bytes came", read.len());
    }
}
