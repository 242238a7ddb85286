//! What the page for people shows of the client: its counts, and the last rounds as a chart.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::http::page::{Escaped, figures};

use crate::observe::history::{CAPACITY, Past};
use crate::observe::report::Short;

/// As much of a server's name as a tooltip shows; a hundred long ones would be most of the page.
const NAME_SHOWN: usize = 32;

pub(crate) fn of([rounds, right, failed, disturbed, skipped]: [u64; 5], past: &[Past]) -> String {
    let bad = if failed == 0 { "" } else { " class=\"bad\"" };
    let figures = figures(&[
        ("rounds", rounds.to_string()),
        ("right", right.to_string()),
        ("failed", format!("<span{bad}>{failed}</span>")),
        ("disturbed", disturbed.to_string()),
        ("ticks skipped", skipped.to_string()),
    ]);
    format!("{figures}<section><h2>The last {CAPACITY} rounds</h2>\n{}{}</section>\n", chart(past), key(past))
}

/// A bar a round, the newest on the right; round trips on a logarithmic scale, failures as high as the chart.
///
/// All lengths are in per cent, so that text keeps its size on a narrow screen.
fn chart(past: &[Past]) -> String {
    let scale = Scale::of(past);
    let mut svg = String::from("<svg class=\"chart\" role=\"img\" aria-label=\"round trips\">\n");
    for mark in scale.first..=scale.last {
        let y = 100.0 - scale.percent(mark.into());
        let _ = writeln!(svg, r#"<line x2="100%" y1="{y:.1}%" y2="{y:.1}%"/>"#);
        let _ =
            writeln!(svg, r#"<text x="100%" y="{y:.1}%" dx=".6em" dy=".3em">{}</text>"#, PowerOfTen(mark));
    }
    for (position, Past { at, server, result }) in (CAPACITY - past.len()..).zip(past) {
        let server: String = server.chars().take(NAME_SHOWN).collect();
        let (height, class, outcome) = match result {
            Ok(time) => (scale.percent(power(*time)).max(1.0), "", Short(*time).to_string()),
            Err(reason) => (100.0, " class=\"f\"", reason.as_str().to_owned()),
        };
        let (y, at, server) = (100.0 - height, TimeOfDay(*at), Escaped(server));
        let _ = writeln!(
            svg,
            r#"<rect{class} x="{position}%" y="{y:.1}%" height="{height:.1}%"><title>{at} {server}: {outcome}</title></rect>"#
        );
    }
    svg + "</svg>\n"
}

/// What the chart cannot be read for: the middle, the worst, the reasons of failures, the last round.
fn key(past: &[Past]) -> String {
    let mut times: Vec<Duration> = past.iter().filter_map(|round| round.result.ok()).collect();
    times.sort_unstable();
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in past.iter().filter_map(|round| round.result.err()) {
        *reasons.entry(reason.as_str()).or_default() += 1;
    }
    let mut key = String::from("<ul class=\"key\">");
    if let (Some(&middle), Some(&longest)) = (times.get(times.len() / 2), times.last()) {
        let _ =
            write!(key, "<li>median <b>{}</b></li><li>longest <b>{}</b></li>", Short(middle), Short(longest));
    }
    for (reason, count) in reasons {
        let _ = write!(key, r#"<li class="bad">{reason} <b>{count}</b></li>"#);
    }
    if let Some(last) = past.last() {
        let _ = write!(key, "<li>last at <b>{}</b> UTC</li>", TimeOfDay(last.at));
    }
    key + "</ul>\n"
}

/// From the power of ten below the shortest round trip to the one above the longest.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn of(past: &[Past]) -> Self {
        let powers = || past.iter().filter_map(|round| round.result.ok()).map(power);
        let first = powers().fold(f64::INFINITY, f64::min).clamp(-7.0, 3.0).floor();
        let last = powers().fold(f64::NEG_INFINITY, f64::max).clamp(-7.0, 3.0).ceil();
        #[expect(clippy::cast_possible_truncation, reason = "clamped above")]
        let (first, last) = (first as i32, last as i32);
        if first < last {
            Self { first, last }
        } else {
            Self { first: first.min(last), last: first.min(last) + 1 }
        }
    }

    /// Where in the chart's height a power of ten is.
    fn percent(&self, power: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        (100.0 * (power - first) / (last - first)).clamp(0.0, 100.0)
    }
}

/// The power of ten that a time is, in seconds.
fn power(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-7).log10()
}

/// A round number of seconds, as it stands beside the chart.
struct PowerOfTen(i32);

impl Display for PowerOfTen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, zeros) = match self.0 {
            0.. => ("s", self.0),
            -3.. => ("ms", self.0 + 3),
            _ => ("µs", self.0 + 6),
        };
        write!(formatter, "{} {unit}", 10_f64.powi(zeros))
    }
}

/// Hours, minutes and seconds in UTC.
struct TimeOfDay(SystemTime);

impl Display for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
        write!(formatter, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::failure::Reason;

    fn past(server: &str, results: &[Result<Duration, Reason>]) -> Vec<Past> {
        let at = UNIX_EPOCH + Duration::from_secs(86_400 + 3_723);
        results.iter().map(|&result| Past { at, server: server.to_owned(), result }).collect()
    }

    #[test]
    fn bars_stand_at_the_right_and_grow_with_the_logarithm() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_micros(31_623));
        let html = chart(&past("a:1", &[Ok(fast), Ok(slow), Err(Reason::Refused)]));
        let bars: Vec<&str> = html.lines().filter(|line| line.starts_with("<rect")).collect();
        assert_eq!(
            bars,
            [
                r#"<rect x="97%" y="99.0%" height="1.0%"><title>01:02:03 a:1: 1.00 ms</title></rect>"#,
                r#"<rect x="98%" y="25.0%" height="75.0%"><title>01:02:03 a:1: 31.6 ms</title></rect>"#,
                r#"<rect class="f" x="99%" y="0.0%" height="100.0%"><title>01:02:03 a:1: refused</title></rect>"#,
            ]
        );
        assert!(html.contains(r#"<text x="100%" y="50.0%" dx=".6em" dy=".3em">10 ms</text>"#), "{html}");
    }

    #[test]
    fn the_key_tells_the_middle_and_counts_reasons() {
        let times = [3, 1, 2].map(|millis| Ok(Duration::from_millis(millis)));
        let html = key(&past("a:1", &[&times[..], &[Err(Reason::Refused); 2]].concat()));
        assert!(html.contains("median <b>2.00 ms</b>") && html.contains("longest <b>3.00 ms</b>"), "{html}");
        assert!(html.contains(r#"<li class="bad">refused <b>2</b></li>"#), "{html}");
        assert!(html.contains("last at <b>01:02:03</b> UTC"), "{html}");
    }

    #[test]
    fn nothing_yet_and_nothing_right_are_shown_as_well() {
        assert!(!of([0; 5], &[]).contains("<rect"));
        let html = of([1, 0, 1, 0, 0], &past("a:1", &[Err(Reason::Resolve)]));
        assert!(html.contains("<span class=\"bad\">1</span>") && html.contains("resolve <b>1</b>"), "{html}");
    }

    #[test]
    fn a_full_chart_of_long_and_hostile_names_is_small_and_harmless() {
        let server = format!("<b>{}:1", "a".repeat(240));
        let html = of([100, 100, 0, 0, 0], &past(&server, &[Ok(Duration::from_micros(87)); CAPACITY]));
        assert_eq!(html.matches("<rect").count(), CAPACITY);
        assert!(!html.contains("<b>a"), "{html}");
        assert!(html.len() < 16_000, "{}", html.len());
    }
}
