//! The report of a run, as text for a terminal of 80 columns.

use std::fmt::{self, Formatter};
use std::time::Duration;

use daemon::plural::Plural;

use super::distribution::Distribution;
use super::limit::{Limit, QUANTILES};
use super::{Load, MOST_CONNECTIONS_PER_SECOND, Outcome, float};
use crate::observe::report::Short;
use crate::round::reason::Reason;
use crate::targets::target::Target;

/// The width of a terminal.
const COLUMNS: usize = 80;

/// A run and what was asked for, to be printed.
pub struct Report<'a> {
    /// The server, as it was named.
    pub target: &'a Target,
    /// What was asked for.
    pub load: &'a Load,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// What fails the run.
    pub limits: &'a [Limit],
}

impl Report<'_> {
    /// Whether something was measured, no reply was wrong, no limit is broken, and nothing failed, unless a limit allows
    /// a share of errors.
    pub(super) fn is_passed(&self) -> bool {
        let Self { outcome, limits, .. } = self;
        outcome.measured_replies() > 0
            && outcome.tally.wrong() == 0
            && !limits.iter().any(|limit| limit.is_broken(outcome))
            && (outcome.errors() == 0 || limits.iter().any(Limit::is_on_errors))
    }

    /// Each limit that fails the run, with what was measured.
    pub(super) fn broken_limits(&self) -> impl Iterator<Item = String> {
        let broken = self.limits.iter().filter(|limit| limit.is_broken(self.outcome));
        broken.map(|limit| format!("limit {limit}: {}", limit.describe(self.outcome)))
    }

    /// The generator's processor time for each right reply of what was measured.
    pub(super) fn cpu_per_request(&self) -> Option<Duration> {
        let cpu: Duration = self.outcome.tally.threads.iter().map(|busy| busy.cpu).sum();
        let per_request = cpu.as_nanos().checked_div(u128::from(self.outcome.measured_replies()));
        per_request.map(Duration::from_nanos_u128)
    }

    /// What makes the figures less than they seem.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Outcome { tally, measured, .. } = self.outcome;
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
                 nearly all the time, so these figures describe it rather than the server; give it more \
                 processors and --threads, or a lower --rate"
            ));
        }
        let most = f64::from(MOST_CONNECTIONS_PER_SECOND);
        if !self.load.keep && float(tally.connect.len()) / measured.as_secs_f64().max(1e-9) > 0.95 * most {
            warnings.push(format!(
                "the pace of connecting was the limit: no more than {most} a second are opened"
            ));
        }
        if self.load.keep && tally.never_served > 0 && tally.served > 0 {
            let (never, all, served) = (tally.never_served, self.load.connections, tally.served);
            warnings.push(format!(
                "{never} of {all} connections never got a reply: the server seems to serve at most {served} at a \
                 time (max-connections); lower --connections or raise that limit"
            ));
        }
        if tally.unsent > 0 {
            let unsent = Plural(tally.unsent, "request");
            warnings.push(format!("the rate was not kept: {unsent} fell due and could not be sent in time"));
        }
        warnings
    }

    fn write_counts(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let tally = &self.outcome.tally;
        let (right, wrong) = (self.outcome.measured_replies(), tally.wrong());
        let failures = Plural(tally.failed_in_all() - wrong, "failure");
        writeln!(formatter, "\nreplies     {right} right, {wrong} wrong; {failures}")?;
        let failures = Reason::ALL.iter().zip(tally.failures).map(|(reason, count)| (count, reason.as_str()));
        let others = [
            (tally.unsent, "unsent"),
            (tally.right - right, "more right in the warm-up"),
            (tally.closed_unasked, "connections closed by the server with nothing under way"),
        ];
        for (count, what) in failures.chain(others).filter(|(count, _)| *count > 0) {
            writeln!(formatter, "            {count} {what}")?;
        }
        let Some(wrong) = &tally.first_wrong else { return Ok(()) };
        write_wrapped(formatter, &format!("first wrong reply: {wrong}"))
    }

    fn write_throughput(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.outcome.throughput() {
            Some(rate) => {
                let time = Short(self.outcome.measured);
                writeln!(formatter, "throughput  {rate:.0} a second, for {time}")?;
            }
            None => writeln!(formatter, "throughput  none: no right reply was measured")?,
        }
        if let Some(cpu) = self.cpu_per_request() {
            writeln!(formatter, "generator   {} of processor time a request", Short(cpu))?;
        }
        for (index, busy) in self.outcome.tally.threads.iter().enumerate() {
            let (busy, waited) = (100.0 * busy.cpu_share(), 100.0 * busy.waited_share());
            let thread = index + 1;
            writeln!(
                formatter,
                "            thread {thread}: {busy:.1} % busy, {waited:.1} % waiting for a processor"
            )?;
        }
        Ok(())
    }

    fn write_latencies(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let tally = &self.outcome.tally;
        let connect = (!self.load.keep).then_some(("connect", &tally.connect));
        let rows = [Some(("latency", &tally.latency)), connect].into_iter().flatten();
        let mut rows = rows.filter(|(_, histogram)| !histogram.is_empty()).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        write!(formatter, "\n{:<10}", "")?;
        for (name, _) in QUANTILES {
            write!(formatter, " {name:>9}")?;
        }
        writeln!(formatter, " {:>9}", "max")?;
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
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { target, load, outcome, .. } = self;
        let kind = if load.keep { "kept connection" } else { "fresh connection" };
        let connections = Plural(load.connections as u64, kind);
        let pace = load.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} requests a second"));
        writeln!(formatter, "{target}: {connections}, {} deep, {pace}", load.pipeline)?;
        if outcome.is_stopped {
            writeln!(formatter, "stopped by a signal after {}", Short(outcome.elapsed))?;
        }
        self.write_counts(formatter)?;
        self.write_throughput(formatter)?;
        self.write_latencies(formatter)?;
        for warning in self.warnings() {
            writeln!(formatter)?;
            write_wrapped(formatter, &format!("warning: {warning}"))?;
        }
        Ok(())
    }
}

fn write_wrapped(formatter: &mut Formatter<'_>, text: &str) -> fmt::Result {
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
        let measured = Duration::from_secs(10);
        let outcome = Outcome { tally, elapsed: Duration::from_secs(11), measured, is_stopped: false };
        let load = Load {
            address: ([127, 0, 0, 1], 8888).into(),
            connections: 10_000,
            pipeline: 16,
            rate: Some(100_000.0),
            duration: Duration::from_secs(10),
            requests: None,
            warmup: Duration::from_secs(1),
            keep: false,
            threads: 1,
            connect_timeout: Duration::from_secs(3),
            reply_timeout: Duration::from_secs(3),
        };
        let target = "127.0.0.1:8888".parse().expect("a target");
        let text = Report { target: &target, load: &load, outcome: &outcome, limits: &[] }.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let begins = "127.0.0.1:8888: 10000 fresh connections, 16 deep, 100000 requests a second

replies     1000000 right, 2 wrong; 4 failures
            4 connect_timeout
            2 wrong_reply
            3 unsent
            1 more right in the warm-up
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
