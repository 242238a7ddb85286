//! Standard error, as the log's thread writes to it. Lines that cannot be written are counted.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Takes one line per write, and never fails.
#[derive(Debug)]
pub(super) struct Output<W> {
    writer: W,
    /// How many lines were not written completely.
    failed: Arc<AtomicU64>,
    /// Whether the last line was cut off: the next one must not be joined to it.
    torn: bool,
}

impl<W: Write> Output<W> {
    pub(super) fn new(writer: W, failed: Arc<AtomicU64>) -> Self {
        Self { writer, failed, torn: false }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.torn {
            if self.writer.write_all(b"\n").is_err() {
                self.failed.fetch_add(1, Ordering::Relaxed);
                return Ok(line.len());
            }
            self.torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(count @ 1..) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    self.torn |= rest.len() < line.len();
                    break;
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A descriptor without the lock of the standard library's `Stderr`, on which other threads would wait for a slow reader.
#[derive(Debug)]
pub(super) struct Descriptor<F>(pub(super) F);

impl<F: AsFd> Write for Descriptor<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                // Another process shares the terminal or pipe and has made it non-blocking.
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

    /// Takes `limit` bytes in pieces of five, with an interruption before each, then fails.
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

    #[test]
    fn incomplete_lines_are_counted_and_the_next_one_starts_on_a_new_line() {
        for (limit, failed, taken) in [
            (0, 3, ""),
            (3, 3, "one\n"),
            (4, 2, "one\n"),
            (9, 2, "one\ntwo t\n"),
            (14, 1, "one\ntwo three\n"),
            (19, 0, "one\ntwo three\nfour\n"),
        ] {
            let limited = Limited { taken: Vec::new(), limit, interrupted: false };
            let mut output = Output::new(limited, Arc::default());
            for line in ["one\n", "two three\n", "four\n"] {
                output.write_all(line.as_bytes()).expect("it never fails");
            }
            assert_eq!(output.failed.load(Ordering::Relaxed), failed, "{limit}");
            output.writer.limit = 100;
            output.write_all(b"five\n").expect("it never fails");
            assert_eq!(output.failed.load(Ordering::Relaxed), failed, "{limit}");
            let expected = format!("{taken}five\n");
            assert_eq!(String::from_utf8_lossy(&output.writer.taken), expected, "{limit}");
        }
    }

    /// Takes the first five bytes, and all from its fourth call on.
    struct Recovering(Vec<u8>, u32);

    impl Write for Recovering {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            let count = match self.1 {
                1 => 5,
                2 | 3 => return Err(ErrorKind::StorageFull.into()),
                _ => bytes.len(),
            };
            self.0.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_lost_rather_than_joined_to_one_that_was_cut_off() {
        let mut output = Output::new(Recovering(Vec::new(), 0), Arc::default());
        for line in ["first\n", "second\n", "third\n"] {
            output.write_all(line.as_bytes()).expect("it never fails");
        }
        assert_eq!(String::from_utf8_lossy(&output.writer.0), "first\nthird\n");
        assert_eq!(output.failed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_pipe_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("a pipe can be made non-blocking");
        let line = "x".repeat(1_000_000);
        let bytes = line.clone();
        let failed = Arc::new(AtomicU64::new(0));
        let mut output = Output::new(Descriptor(writer), Arc::clone(&failed));
        let writing = thread::spawn(move || output.write_all(bytes.as_bytes()));
        let mut read = String::new();
        reader.read_to_string(&mut read).expect("text");
        writing.join().expect("no panic").expect("it never fails");
        assert_eq!(failed.load(Ordering::Relaxed), 0);
        assert!(read == line, "{} bytes came", read.len());
    }
}
