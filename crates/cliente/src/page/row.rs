//! The line of one target.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::words::Words;
use crate::observe::history::{Now, Past, PastResult, Standing, State};
use crate::observe::report::{Loss, Short};

/// How many rounds the small chart shows.
const ROUNDS: usize = 32;
/// The width of a round and the height of the chart.
const STEP: usize = 5;
const HEIGHT: f32 = 20.0;
/// The height of a round that takes the median, and what ten times as long adds.
const MEDIAN_HEIGHT: f32 = 8.0;

/// A line of the table, in HTML.
pub(super) struct Row<'a, N> {
    pub(super) name: N,
    pub(super) standing: Standing,
    pub(super) past: &'a [Past],
    pub(super) now: Now,
}

impl<'a> Row<'a, &'static str> {
    /// The line of the control rounds.
    pub(super) fn own_host(past: &'a [Past], standing: Standing, trouble: bool, now: Now) -> OwnHost<'a> {
        OwnHost { row: Row { name: "this host itself", standing, past, now }, trouble }
    }
}

/// The line of the control rounds, the baseline of all others.
pub(super) struct OwnHost<'a> {
    row: Row<'a, &'static str>,
    trouble: bool,
}

impl<N: Display> Display for Row<'_, N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, mark) = match self.standing.state() {
            State::Failing(..) => ("failing", "✖"),
            State::Unknown => ("unknown", "○"),
            State::Right(_) if self.standing.failed > 0 => ("good", "●"),
            State::Right(_) => ("good well", "●"),
        };
        let words = Words { standing: self.standing, now: self.now };
        self.line(formatter, class, mark, words)
    }
}

impl Display for OwnHost<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, mark) = if self.trouble { ("own failing", "✖") } else { ("own well", "◆") };
        let last = self.row.past.iter().rev().find_map(|past| match past.result {
            PastResult::Right(seconds) => Some(Short(Duration::from_secs_f32(seconds)).to_string()),
            _ => None,
        });
        let last = last.unwrap_or_else(|| "never right".to_owned());
        let state = if self.trouble { "failed or slow" } else { "baseline" };
        self.row.line(formatter, class, mark, format_args!("{state}, last {last}"))
    }
}

impl<N: Display> Row<'_, N> {
    fn line(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        class: &str,
        mark: &str,
        words: impl Display,
    ) -> fmt::Result {
        let Self { name, past, .. } = self;
        let Figures { p50, p99, loss } = Figures::of(past);
        let time = |time: Option<f32>| {
            time.map_or("-".to_owned(), |time| Short(Duration::from_secs_f32(time)).to_string())
        };
        let loss = loss.percent().map_or("-".to_owned(), |percent| format!("{percent:.1} %"));
        writeln!(
            formatter,
            "<tr class=\"{class}\"><th scope=\"row\"><i aria-hidden=\"true\">{mark}</i>{name}</th>\
             <td class=\"words\">{words}</td><td>{}</td><td class=\"number p50\">{}</td>\
             <td class=\"number p99\">{}</td><td class=\"number loss\">{loss}</td></tr>",
            small_chart(past, p50),
            time(p50),
            time(p99)
        )
    }
}

/// The middle and the long round trips of some rounds, and their loss.
struct Figures {
    p50: Option<f32>,
    p99: Option<f32>,
    loss: Loss,
}

impl Figures {
    fn of(past: &[Past]) -> Self {
        let mut times: Vec<f32> = past.iter().filter_map(Past::round_trip).collect();
        times.sort_unstable_by(f32::total_cmp);
        let quantile =
            |percent: usize| times.get((times.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        let failed = past.iter().filter(|past| matches!(past.result, PastResult::Failed(_))).count();
        let loss = Loss { failed: failed as u64, right: times.len() as u64 };
        Self { p50: quantile(50), p99: quantile(99), loss }
    }
}

/// The last rounds: bars whose height is relative to the median, crosses for failures, dots for disturbed rounds.
fn small_chart(past: &[Past], median: Option<f32>) -> String {
    let past = &past[past.len().saturating_sub(ROUNDS)..];
    let (mut bars, mut bands, mut crosses, mut dots) =
        (String::new(), String::new(), String::new(), String::new());
    let mut counts = [0; 3];
    for (position, round) in (ROUNDS - past.len()..).zip(past) {
        let x = position * STEP;
        match round.result {
            PastResult::Right(time) => {
                let above = (time / median.unwrap_or(time)).max(f32::MIN_POSITIVE).log10();
                let height = (MEDIAN_HEIGHT + (HEIGHT - MEDIAN_HEIGHT) * above).clamp(2.0, HEIGHT);
                counts[0] += 1;
                let _ = write!(bars, "M{x}.5 20v-{height:.0}h4v{height:.0}z");
            }
            PastResult::Failed(_) => {
                counts[1] += 1;
                let _ = write!(bands, "M{x} 0h5v20h-5z");
                let _ = write!(crosses, "M{x}.7 6l3.6 8m0-8l-3.6 8");
            }
            PastResult::Disturbed => {
                counts[2] += 1;
                let _ = write!(dots, "M{x}.5 16a2 2 0 1 0 4 0a2 2 0 1 0-4 0");
            }
        }
    }
    let [right, failed, disturbed] = counts;
    let disturbed = if disturbed > 0 { format!(", {disturbed} disturbed") } else { String::new() };
    let mut svg = format!(
        "<svg class=\"rounds\" viewBox=\"0 0 160 20\" role=\"img\" \
         aria-label=\"last rounds: {right} right, {failed} failed{disturbed}\">"
    );
    for (class, path) in [("bar", bars), ("band", bands), ("cross", crosses), ("dot", dots)] {
        if !path.is_empty() {
            let _ = write!(svg, r#"<path class="{class}" d="{path}"/>"#);
        }
    }
    svg + "</svg>"
}

/// What the marks in the small charts mean.
pub(super) fn legend() -> String {
    let mark =
        |path: &str| format!(r#"<svg class="legend" viewBox="0 0 8 20" aria-hidden="true">{path}</svg>"#);
    let right = mark(r#"<path class="bar" d="M2 20v-14h4v14z"/>"#);
    let failed = mark(r#"<path class="band" d="M1 0h6v20h-6z"/><path class="cross" d="M2 5l4 9m0-9l-4 9"/>"#);
    let disturbed = mark(r#"<path class="dot" d="M2 16a2 2 0 1 0 4 0a2 2 0 1 0-4 0"/>"#);
    format!("{right} right, as high as its ratio to the median; {failed} failed; {disturbed} disturbed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::PastResult::Disturbed;
    use crate::observe::history::tests::{REFUSED, RIGHT, rounds, seconds_later};

    fn row(results: &[PastResult]) -> String {
        let rounds = rounds("a:1", results.iter().copied());
        let (standing, past) = (rounds.standing(), &rounds.past());
        Row { name: "a:1", standing, past, now: seconds_later(9) }.to_string()
    }

    #[test]
    fn right_failed_and_disturbed_rounds_have_different_shapes() {
        let html = row(&[RIGHT, PastResult::Right(0.01), REFUSED, Disturbed]);
        assert!(html.contains(r#"<path class="bar" d="M140.5 20v-8h4v8zM145.5 20v-20h4v20z"/>"#), "{html}");
        assert!(html.contains(r#"<path class="cross" d="M150.7 6l3.6 8m0-8l-3.6 8"/>"#), "{html}");
        assert!(html.contains(r#"<path class="dot" d="M155.5 16a2 2 0 1 0 4 0a2 2 0 1 0-4 0"/>"#), "{html}");
        assert!(html.contains("last rounds: 2 right, 1 failed, 1 disturbed"), "{html}");
    }

    #[test]
    fn nothing_measured_is_shown_as_a_dash() {
        for results in [&[][..], &[Disturbed]] {
            let html = row(results);
            for class in ["p50", "p99", "loss"] {
                assert!(html.contains(&format!(r#"<td class="number {class}">-</td>"#)), "{html}");
            }
            assert!(html.starts_with(r#"<tr class="unknown">"#), "{html}");
        }
        let html = row(&[REFUSED]);
        assert!(html.contains(r#"p50">-</td>"#) && html.contains(r#"loss">100.0 %</td>"#), "{html}");
    }

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let results: Vec<PastResult> = (1..=100_u8).map(|time| PastResult::Right(time.into())).collect();
        let Figures { p50, p99, .. } = Figures::of(&rounds("a:1", results).past());
        assert_eq!((p50, p99), (Some(50.0), Some(99.0)));
    }

    #[test]
    fn the_own_host_is_the_baseline_or_in_trouble() {
        let rounds = rounds("", [RIGHT, REFUSED]);
        let html =
            |trouble| Row::own_host(&rounds.past(), rounds.standing(), trouble, seconds_later(9)).to_string();
        assert!(html(false).contains("this host itself</th><td class=\"words\">baseline, last 1.00 ms"));
        assert!(
            html(true).starts_with("<tr class=\"own failing\">") && html(true).contains("failed or slow")
        );
    }
}
