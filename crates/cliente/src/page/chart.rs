//! The last rounds of one target as a large chart with an axis.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use crate::observe::history::{CAPACITY, Now, Past, PastResult};
use crate::observe::report::Short;

/// The hatching of failures.
const PATTERN: &str = "<defs><pattern id=\"failed\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><path d=\"M0 0v5\"/></pattern></defs>\n";

/// The chart and its key.
pub(super) fn of(past: &[Past], now: Now) -> String {
    chart(past, now) + &key(past)
}

/// A bar a round, the newest on the right. Round trips are on a logarithmic scale, failures are hatched and as high as the
/// chart, disturbed rounds are dots.
///
/// All lengths are in per cent, so that text keeps its size on a narrow screen.
fn chart(past: &[Past], now: Now) -> String {
    let mut svg = String::from("<svg class=\"chart\" role=\"img\" aria-label=\"round trips\">\n");
    let scale = Scale::of(past);
    if let Some(scale) = &scale {
        for mark in scale.first..=scale.last {
            let y = 100.0 - scale.percent(mark.into());
            let _ = writeln!(svg, r#"<line x2="100%" y1="{y:.1}%" y2="{y:.1}%"/>"#);
            let _ = writeln!(
                svg,
                r#"<text x="100%" y="{y:.1}%" dx=".6em" dy=".3em">{}</text>"#,
                PowerOfTen(mark)
            );
        }
    }
    if past.iter().any(|past| matches!(past.result, PastResult::Failed(_))) {
        svg.push_str(PATTERN);
    }
    for (position, Past { at, result }) in (CAPACITY - past.len().min(CAPACITY)..).zip(past) {
        let at = now.time_of_day(*at);
        let (class, height, outcome) = match (result, &scale) {
            (PastResult::Right(seconds), Some(scale)) => {
                let outcome = Short(Duration::from_secs_f32(*seconds)).to_string();
                ("", scale.percent(power(*seconds)).max(1.0), outcome)
            }
            (PastResult::Failed(reason), _) => (" class=\"f\"", 100.0, reason.as_str().to_owned()),
            (PastResult::Disturbed | PastResult::Right(_), _) => {
                let _ = writeln!(
                    svg,
                    r#"<circle cx="{position}.36%" cy="97%"><title>{at} UTC: disturbed</title></circle>"#
                );
                continue;
            }
        };
        let y = 100.0 - height;
        let _ = writeln!(
            svg,
            r#"<rect{class} x="{position}%" y="{y:.1}%" height="{height:.1}%"><title>{at} UTC: {outcome}</title></rect>"#
        );
    }
    svg + "</svg>\n"
}

/// What the chart cannot be read for: the middle, the worst, the reasons of failures.
fn key(past: &[Past]) -> String {
    let mut times: Vec<f32> = past.iter().filter_map(Past::round_trip).collect();
    times.sort_unstable_by(f32::total_cmp);
    let mut reasons = BTreeMap::<&str, usize>::new();
    for round in past {
        if let PastResult::Failed(reason) = round.result {
            *reasons.entry(reason.as_str()).or_default() += 1;
        }
    }
    let short = |seconds| Short(Duration::from_secs_f32(seconds));
    let mut key = String::from("<ul class=\"key\">");
    let middle = times.len().div_ceil(2).saturating_sub(1);
    if let (Some(&middle), Some(&longest)) = (times.get(middle), times.last()) {
        let (middle, longest) = (short(middle), short(longest));
        let _ = write!(key, "<li>median <b>{middle}</b></li><li>longest <b>{longest}</b></li>");
    }
    for (reason, count) in reasons {
        let _ = write!(key, r#"<li class="bad">{reason} <b>{count}</b></li>"#);
    }
    let disturbed = past.iter().filter(|past| past.result == PastResult::Disturbed).count();
    if disturbed > 0 {
        let _ = write!(key, "<li>disturbed <b>{disturbed}</b></li>");
    }
    key + "</ul>\n"
}

/// From the power of ten below the shortest round trip to the one above the longest.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    /// The scale of the right rounds, if there are any.
    fn of(past: &[Past]) -> Option<Self> {
        let powers = || past.iter().filter_map(Past::round_trip).map(power);
        powers().next()?;
        let first = powers().fold(f64::INFINITY, f64::min).clamp(-7.0, 3.0).floor();
        let last = powers().fold(f64::NEG_INFINITY, f64::max).clamp(-7.0, 3.0).ceil();
        #[expect(clippy::cast_possible_truncation, reason = "clamped above")]
        let (first, last) = (first as i32, last as i32);
        Some(Self { first, last: last.max(first + 1) })
    }

    /// Where in the chart's height a power of ten is.
    fn percent(&self, power: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        (100.0 * (power - first) / (last - first)).clamp(0.0, 100.0)
    }
}

/// The power of ten that a time is, in seconds.
fn power(seconds: f32) -> f64 {
    f64::from(seconds).max(1e-7).log10()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::tests::{REFUSED, RIGHT, rounds, seconds_later};

    fn past(results: &[PastResult]) -> Vec<Past> {
        rounds("a:1", results.iter().copied()).past()
    }

    #[test]
    fn bars_stand_at_the_right_and_grow_with_the_logarithm() {
        let results = [RIGHT, PastResult::Right(0.031_623), REFUSED, PastResult::Disturbed];
        let html = chart(&past(&results), seconds_later(9));
        let is_round = |line: &&str| line.starts_with("<rect") || line.starts_with("<circle");
        let bars: Vec<&str> = html.lines().filter(is_round).collect();
        assert_eq!(
            bars,
            [
                r#"<rect x="96%" y="99.0%" height="1.0%"><title>18:00:00 UTC: 1.00 ms</title></rect>"#,
                r#"<rect x="97%" y="25.0%" height="75.0%"><title>18:00:01 UTC: 31.6 ms</title></rect>"#,
                r#"<rect class="f" x="98%" y="0.0%" height="100.0%"><title>18:00:02 UTC: refused</title></rect>"#,
                r#"<circle cx="99.36%" cy="97%"><title>18:00:03 UTC: disturbed</title></circle>"#,
            ]
        );
        assert!(html.contains(r#"<text x="100%" y="50.0%" dx=".6em" dy=".3em">10 ms</text>"#), "{html}");
    }

    #[test]
    fn without_a_right_round_there_is_no_axis() {
        let html = of(&past(&[REFUSED, REFUSED, PastResult::Disturbed]), seconds_later(9));
        assert!(!html.contains("<text") && !html.contains("<line"), "{html}");
        assert_eq!(html.matches("<rect class=\"f\"").count(), 2, "{html}");
        assert!(!html.contains("median"), "{html}");
    }

    #[test]
    fn the_key_tells_the_middle_and_counts_reasons() {
        let times = [0.003, 0.001, 0.002].map(PastResult::Right);
        let html = key(&past(&[&times[..], &[REFUSED; 2], &[PastResult::Disturbed]].concat()));
        assert!(html.contains("median <b>2.00 ms</b>") && html.contains("longest <b>3.00 ms</b>"), "{html}");
        assert!(html.contains(r#"<li class="bad">refused <b>2</b></li>"#), "{html}");
        assert!(html.contains("disturbed <b>1</b>"), "{html}");
    }
}
