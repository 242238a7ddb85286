//! What a run came to, as text for a terminal of 80 columns.

use std::fmt;
use std::time::Duration;

use daemon::plural::Plural;

use super::distribution::Distribution;
use super::limit::Limit;
use super::{Load, MOST_CONNECTIONS_PER_SECOND, Outcome, float};
use crate::observe::report::Short;
use crate::round::failure::Reason;
use crate::targets::target::Target;

/// The width of a terminal.
const COLUMNS: usize = 80;

/// The quantiles that are told, with their names.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// A run and what was asked for, to be printed.
pub struct Report<'a> {
    /// The server, as it was named.
    pub target: &'a Target,
    /// What was asked for.
    pub load: &'a Load,
    /// What came of it.
    pub outcome: &'a Outcome,
}

impl Report<'_> {
    /// Right replies a second, of what was measured.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn throughput(&self) -> f64 {
        self.outcome.tally.latency.len() as f64 / self.outcome.measured.as_secs_f64().max(1e-9)
    }

    /// The generator's processor time for each right reply of what was measured.
    pub(super) fn cpu_per_request(&self) -> Duration {
        let cpu: Duration = self.outcome.tally.threads.iter().map(|busy| busy.cpu).sum();
        Duration::from_nanos_u128(cpu.as_nanos() / u128::from(self.outcome.tally.latency.len().max(1)))
    }

    /// What makes the figures less than they seem.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Outcome { tally, measured } = self.outcome;
        let mut warnings = Vec::new();
        let limits = tally.threads.iter().filter(|busy| busy.was_the_limit()).count();
        if tally.without_port > 0 {
            let (address, count) = (self.load.address, Plural(tally.without_port, "time"));
            warnings.push(format!(
                "the host ran out of ports for connections to {address} {count} (EADDRNOTAVAIL), see \
                 net.ipv4.ip_local_port_range: the server was asked less than it seems"
            ));
        } else if limits > 0 {
            let threads = tally.threads.len();
            warnings.push(format!(
                "the generator was the limit: {limits} of {threads} threads were busy or waited for a processor \
                 nearly all the time, so these figures tell of it rather than of the server; give it more \
                 processors and --threads, or a lower --rate"
            ));
        }
        let most = f64::from(MOST_CONNECTIONS_PER_SECOND);
        if !self.load.keep && f64_from(tally.connect.len()) / measured.as_secs_f64().max(1e-9) > 0.95 * most {
            warnings.push(format!(
                "the pace of connecting was the limit: no more than {most} a second are opened"
            ));
        }
        if tally.unsent > 0 {
            let unsent = Plural(tally.unsent, "request");
            warnings.push(format!("the rate was not kept: {unsent} fell due and could not be sent"));
        }
        warnings
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn f64_from(count: u64) -> f64 {
    count as f64
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, load, outcome } = self;
        let tally = &outcome.tally;
        let kind = if load.keep { "kept connection" } else { "fresh connection" };
        let connections = Plural(load.connections as u64, kind);
        let pace = load.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} requests a second"));
        writeln!(formatter, "{target}: {connections}, {} deep, {pace}", load.pipeline)?;

        let wrong = tally.wrong();
        let failures = Plural(tally.failed_in_all() - wrong, "failure");
        writeln!(formatter, "\nreplies     {} right, {wrong} wrong; {failures}", tally.right)?;
        for (reason, &count) in Reason::ALL.iter().zip(&tally.failures).filter(|(_, count)| **count > 0) {
            writeln!(formatter, "            {count} {}", reason.as_str())?;
        }
        if tally.unsent > 0 {
            writeln!(formatter, "            {} unsent", tally.unsent)?;
        }
        let (rate, time) = (self.throughput(), Short(outcome.measured));
        writeln!(formatter, "throughput  {rate:.0} a second, for {time}")?;
        let cpu = Short(self.cpu_per_request());
        writeln!(formatter, "generator   {cpu} of processor time a request")?;
        for (index, busy) in tally.threads.iter().enumerate() {
            let (busy, waited) = (100.0 * busy.cpu_share(), 100.0 * busy.waited_share());
            let thread = index + 1;
            writeln!(
                formatter,
                "            thread {thread}: {busy:.1} % busy, {waited:.1} % waiting for a processor"
            )?;
        }

        write!(formatter, "\n{:<10}", "")?;
        for (name, _) in QUANTILES {
            write!(formatter, " {name:>9}")?;
        }
        writeln!(formatter, " {:>9}", "max")?;
        let mut rows = vec![("latency", &tally.latency)];
        if !load.keep {
            rows.push(("connect", &tally.connect));
        }
        for (name, histogram) in rows {
            write!(formatter, "{name:<10}")?;
            let quantiles = QUANTILES.map(|(_, quantile)| histogram.value_at_quantile(quantile));
            for value in quantiles.into_iter().chain([histogram.max()]) {
                write!(formatter, " {:>9}", Short(Duration::from_nanos(value)))?;
            }
            writeln!(formatter)?;
        }
        if !tally.latency.is_empty() {
            write!(formatter, "\n{}", Distribution::new(&tally.latency))?;
        }
        for warning in self.warnings() {
            writeln!(formatter)?;
            write_wrapped(formatter, &format!("warning: {warning}"))?;
        }
        Ok(())
    }
}

fn write_wrapped(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        let separator = if column == 0 {
            ""
        } else if column + 1 + length > COLUMNS {
            column = 0;
            "\n"
        } else {
            column += 1;
            " "
        };
        column += length;
        write!(formatter, "{separator}{word}")?;
    }
    writeln!(formatter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::busy::Busy;
    use crate::bench::tally::{Tally, record};

    #[test]
    fn a_whole_report_with_all_its_warnings_fits_in_80_columns() {
        let mut tally = Tally::new();
        tally.right = 1_000_001;
        tally.unsent = 3;
        tally.failed(Reason::WrongReply, 2);
        tally.failed(Reason::ConnectTimeout, 4);
        for microseconds in 50..1050 {
            record(&mut tally.latency, Duration::from_micros(microseconds), 1000);
            record(&mut tally.connect, Duration::from_micros(microseconds), 100);
        }
        let [cpu, waited, wall] = [9_500, 300, 10_000].map(Duration::from_millis);
        tally.threads = vec![Busy { cpu, waited, wall }];
        let outcome = Outcome { tally, measured: Duration::from_secs(10) };
        let load = Load {
            address: ([127, 0, 0, 1], 8888).into(),
            connections: 10_000,
            pipeline: 16,
            rate: Some(100_000.0),
            duration: Duration::from_secs(10),
            warmup: Duration::from_secs(1),
            keep: false,
            threads: 1,
            connect_timeout: Duration::from_secs(3),
            reply_timeout: Duration::from_secs(3),
        };
        let target = "127.0.0.1:8888".parse().expect("a target");
        let text = Report { target: &target, load: &load, outcome: &outcome }.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let begins = "127.0.0.1:8888: 10000 fresh connections, 16 deep, 100000 requests a second

replies     1000001 right, 2 wrong; 7 failures
            4 connect_timeout
            2 wrong_reply
            3 unsent
throughput  100000 a second, for 10.0 s
generator   9.50 µs of processor time a request
            thread 1: 95.0 % busy, 3.0 % waiting for a processor

                 p50       p90       p99     p99.9    p99.99       max
latency       549 µs    949 µs   1.04 ms   1.05 ms   1.05 ms   1.05 ms
connect       549 µs    949 µs   1.04 ms   1.05 ms   1.05 ms   1.05 ms
";
        assert!(text.starts_with(begins), "{text}");
        for warning in ["the generator was the limit", "the pace of connecting", "3 requests fell due"] {
            assert!(text.contains(warning), "{warning}\n{text}");
        }
        assert!(!outcome.all_right());
    }
}
