//! What a log line of the data path costs: processor time of all threads, user and system, from the event to the
//! bytes on standard error. `cargo bench -p daemon --bench log_line` tells.
//!
//! A child logs, since its standard error is to be a file, a pipe or nothing; this process reads the pipe, so that
//! reading is not in the figures. What the pauses between lines cost is measured without lines and subtracted.

#![expect(clippy::disallowed_methods, reason = "lines at a given rate are what is measured")]

use std::fs::File;
use std::hint::black_box;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use daemon::event_within;
use daemon::logging::{Budget, Logging};
use daemon::settings::{Count, Program, start};
use rustix::time::{ClockId, clock_gettime};

const PROGRAM: Program =
    Program { name: "logger", about: "Logs", extra: |command| command, defaults: &[], implied: |_| &[] };

daemon::settings! {
    /// What the daemon of this benchmark can be told.
    pub struct Own {
        /// Means nothing.
        trifle: Count<0, 9> = "0", Live;
    }
}

/// How lines come.
struct Pattern {
    name: &'static str,
    lines: u32,
    burst: u32,
    bursts_per_second: u32,
}

const PATTERNS: [Pattern; 4] = [
    Pattern { name: "in bulk", lines: 500_000, burst: 500, bursts_per_second: 500 },
    Pattern { name: "150 a second, one at a time", lines: 450, burst: 1, bursts_per_second: 150 },
    Pattern { name: "150 a second, in threes", lines: 450, burst: 3, bursts_per_second: 50 },
    Pattern { name: "150 a second, all at once", lines: 450, burst: 150, bursts_per_second: 1 },
];

fn main() {
    let pattern = std::env::args().nth(1);
    match PATTERNS.iter().find(|known| pattern.as_deref() == Some(known.name)) {
        Some(pattern) => measure(pattern),
        // Called by `cargo bench`, which knows of no patterns.
        None => PATTERNS.iter().for_each(compare_outputs),
    }
}

fn compare_outputs(pattern: &Pattern) {
    let file = tempfile::tempfile().expect("a temporary file");
    let nothing = File::options().write(true).open("/dev/null").expect("it is always there");
    println!("{}", pattern.name);
    for (output, standard_error) in
        [("/dev/null", nothing.into()), ("a file", file.into()), ("a pipe", Stdio::piped())]
    {
        let mut child = Command::new(std::env::current_exe().expect("this file"))
            .arg(pattern.name)
            .stdout(Stdio::piped())
            .stderr(standard_error)
            .spawn()
            .expect("it starts");
        if let Some(mut pipe) = child.stderr.take() {
            std::io::copy(&mut pipe, &mut std::io::sink()).expect("a pipe can be read");
        }
        let said = child.wait_with_output().expect("it ends");
        assert!(said.status.success(), "{:?}", said.status);
        print!("    {output:<12}{}", String::from_utf8_lossy(&said.stdout));
    }
}

fn measure(pattern: &Pattern) {
    let settings = start::<Own>(&PROGRAM, [PROGRAM.name.into()]).expect("the defaults are in order").settings;
    let logging = Logging::start(&settings.common);
    let budget = Budget::new("number classified", u32::MAX);
    let peer = SocketAddr::from(([127, 0, 0, 1], 49_152));
    let log = |line: u32| {
        let number = black_box("1234567890123456");
        event_within!(
            budget,
            INFO,
            connection = u64::from(line),
            peer = %peer,
            number,
            digits = number.len(),
            class = "large",
            "number classified"
        );
    };
    // Buffers grow, and the page cache is warm.
    in_bursts(&Pattern { lines: pattern.burst * 10, ..*pattern }, log);
    let pauses = in_bursts(pattern, |line| {
        black_box(line);
    });
    let began = process_time();
    in_bursts(pattern, log);
    let lost = logging.lines_dropped();
    drop(logging);
    let spent = process_time().saturating_sub(began).saturating_sub(pauses);
    let per_line = spent.as_nanos() / u128::from(pattern.lines);
    println!("{per_line:>8} ns a line, {lost} lost");
}

/// Does `work` for each line; says how much processor time that took.
fn in_bursts(pattern: &Pattern, work: impl Fn(u32)) -> Duration {
    let began = process_time();
    let start = Instant::now();
    for burst in 0..pattern.lines / pattern.burst {
        let due = start + Duration::from_secs(1) * burst / pattern.bursts_per_second;
        sleep(due.saturating_duration_since(Instant::now()));
        for line in 0..pattern.burst {
            work(burst * pattern.burst + line);
        }
    }
    process_time().saturating_sub(began)
}

fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time does not run backwards")
}
