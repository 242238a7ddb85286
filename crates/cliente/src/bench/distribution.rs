//! A latency distribution, drawn with block characters.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::observe::report::Short;

/// Rows before the last, which takes all that is longer.
const ROWS: u32 = 14;
const WIDTH: u64 = 48;
/// What is drawn to scale: the rest may be a thousand times as long, and would leave nothing to see.
const DRAWN: f64 = 0.999;

/// Shares of times in ranges, each longer than the one before by the same factor.
pub(super) struct Distribution {
    rows: Vec<Row>,
}

struct Row {
    from: u64,
    to: u64,
    count: u64,
}

impl Distribution {
    /// `times` are in nanoseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounds to three digits of times from nanoseconds to an hour"
    )]
    pub(super) fn new(times: &Histogram<u64>) -> Self {
        let first = times.min().max(1) as f64;
        let factor = (times.value_at_quantile(DRAWN) as f64 / first).max(1.01).powf(1.0 / f64::from(ROWS));
        let bound = |row: u32| (first * factor.powi(row.cast_signed())) as u64;
        let mut rows: Vec<Row> =
            (0..ROWS).map(|row| Row { from: bound(row), to: bound(row + 1), count: 0 }).collect();
        rows.push(Row { from: bound(ROWS), to: times.max(), count: 0 });
        rows[0].from = times.min();
        for step in times.iter_recorded() {
            let row = rows.iter().rposition(|row| row.from <= step.value_iterated_to()).unwrap_or(0);
            rows[row].count += step.count_since_last_iteration();
        }
        // Nothing may be longer.
        if rows.last().is_some_and(|row| row.count == 0) {
            rows.pop();
        }
        Self { rows }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.rows.iter().map(|row| row.count).sum();
        let most = self.rows.iter().map(|row| row.count).max().unwrap_or(0).max(1);
        for &Row { from, to, count } in &self.rows {
            #[expect(clippy::cast_precision_loss, reason = "a share for people, with two decimals")]
            let share = 100.0 * count as f64 / all as f64;
            let [from, to] = [from, to].map(|bound| Short(Duration::from_nanos(bound)).to_string());
            let bar = bar(count, most);
            writeln!(formatter, "{from:>8} to {to:>8}  {share:>6.2} %  {bar}")?;
        }
        Ok(())
    }
}

/// In eighths of a character; whatever there is shows.
fn bar(count: u64, most: u64) -> String {
    let eighths = (count * WIDTH * 8).div_ceil(most);
    let mut bar = "█".repeat(usize::try_from(eighths / 8).unwrap_or(0));
    let rest = usize::try_from(eighths % 8).unwrap_or(0);
    bar.extend(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get(rest.wrapping_sub(1)));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_measured_is_drawn_in_80_columns() {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds");
        for microseconds in 100..1100 {
            times.record_n(microseconds * 1000, 10).expect("within bounds");
        }
        times.record(2_500_000_000).expect("within bounds");
        let distribution = Distribution::new(&times);
        assert_eq!(distribution.rows.iter().map(|row| row.count).sum::<u64>(), 10_001);
        assert_eq!(distribution.rows.last().map(|row| row.count), Some(11), "0.1 %, and the outlier");
        let text = distribution.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("  100 µs to "), "{text}");
        assert!(
            text.lines().last().is_some_and(|row| row.contains("2.50 s") && row.contains(" 0.11 %")),
            "{text}"
        );
    }

    #[test]
    fn one_time_is_one_bar() {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds");
        times.record(88_000).expect("within bounds");
        let text = Distribution::new(&times).to_string();
        let bars: Vec<&str> = text.lines().filter(|line| line.contains('█')).collect();
        assert_eq!(bars.len(), 1, "{text}");
        assert!(bars[0].contains("100.00 %"), "{text}");
    }

    #[test]
    fn bars_are_drawn_in_eighths() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(1, 96), "▌");
        assert_eq!(bar(100, 100).chars().count(), 48);
    }
}
