//! The progress line of a run, on a terminal.

use std::collections::VecDeque;
use std::io;
use std::panic;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use super::progress::{Part, Progress};
use super::tally::histogram;
use super::{Load, Outcome, float, run};
use crate::observe::report::Short;

/// How often the line is drawn.
const REDRAWN: Duration = Duration::from_millis(100);
/// What the rate and the latencies of the line are of.
const SPAN: Duration = Duration::from_secs(1);

/// Runs the load until its end or a signal, and shows how far it is if standard error is a terminal.
pub(super) fn watch(load: &Load) -> io::Result<Outcome> {
    let all = load.requests.unwrap_or((load.warmup + load.duration).as_secs());
    let bar = ProgressBar::new(all);
    let threads = load.threads;
    let progress = if bar.is_hidden() { Progress::new(threads) } else { Progress::watched(threads) };
    progress.stop_on_signals()?;
    if bar.is_hidden() {
        return run(load, &progress);
    }
    bar.set_style(ProgressStyle::with_template("{bar:16} {msg}").expect("the template is valid"));
    let mut line = Line::new();
    let outcome = thread::scope(|scope| {
        let (running, ended) = channel::<()>();
        let progress = &progress;
        let run = scope.spawn(move || {
            let _running = running;
            run(load, progress)
        });
        while ended.recv_timeout(REDRAWN) == Err(RecvTimeoutError::Timeout) {
            let part = progress.take();
            let (done, unit) = match load.requests {
                Some(_) => (part.right + part.failed, ""),
                None => (line.begun.elapsed().as_secs(), " s"),
            };
            let done = done.min(all);
            bar.set_position(done);
            bar.set_message(format!("{done} of {all}{unit}, {}", line.update(part)));
        }
        run.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    });
    bar.finish_and_clear();
    outcome
}

/// The latencies of the last second, in the parts that were taken.
struct Line {
    begun: Instant,
    parts: VecDeque<(Instant, Histogram<u64>)>,
}

impl Line {
    fn new() -> Self {
        Self { begun: Instant::now(), parts: VecDeque::new() }
    }

    /// The rate and the latencies of the last second, and the failures so far.
    fn update(&mut self, part: Part) -> String {
        let now = Instant::now();
        self.parts.push_back((now, part.recent));
        while self.parts.front().is_some_and(|(taken, _)| now - *taken > SPAN) {
            self.parts.pop_front();
        }
        let mut recent = histogram(2);
        self.parts.iter().for_each(|(_, part)| recent += part);
        let span = SPAN.min(self.begun.elapsed()).as_secs_f64().max(1e-3);
        let rate = float(recent.len()) / span;
        let latency = |quantile| Short(Duration::from_nanos(recent.value_at_quantile(quantile)));
        let latencies = if recent.is_empty() {
            "no replies".to_owned()
        } else {
            format!("p50 {}, p99 {}", latency(0.5), latency(0.99))
        };
        format!("{rate:.0}/s, {latencies}, {} failed", part.failed)
    }
}
