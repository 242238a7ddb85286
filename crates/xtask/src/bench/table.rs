//! The results as a Markdown table of medians, each with its least and its greatest value.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::cases::{CASES, Case};
use super::process::machine;

/// Every figure, by case and contender, one per repetition.
pub(crate) struct Results {
    pub(crate) contenders: Vec<&'static str>,
    figures: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

/// A middle and its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            *figures.get(middle)?
        } else {
            f64::midpoint(*figures.get(middle.checked_sub(1)?)?, figures[middle])
        };
        Some(Self { least: *figures.first()?, median, greatest: *figures.last()? })
    }
}

impl Display for Spread {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { least, median, greatest } = self;
        let decimals = if *median < 100.0 { 2 } else { 0 };
        write!(formatter, "{median:.decimals$} ({least:.decimals$}–{greatest:.decimals$})")
    }
}

impl Results {
    /// None yet; the first of `contenders` is the measure of the others.
    pub(crate) fn new(contenders: Vec<&'static str>) -> Self {
        Self { contenders, figures: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, case: &Case, contender: &'static str, figure: f64) {
        self.figures.entry((case.name, contender)).or_default().push(figure);
    }

    fn figures(&self, case: &Case, contender: &'static str) -> &[f64] {
        self.figures.get(&(case.name, contender)).map_or(&[], Vec::as_slice)
    }

    /// A contender's figures over the bare loop's of the same repetition.
    pub(crate) fn ratio(&self, case: &Case, contender: &'static str) -> Option<Spread> {
        let bare = self.figures(case, self.contenders[0]);
        let pairs = self.figures(case, contender).iter().zip(bare);
        case.is_ratio.then(|| Spread::of(pairs.map(|(figure, bare)| figure / bare)))?
    }
}

impl Display for Results {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let times = self.figures.values().map(Vec::len).max().unwrap_or_default();
        writeln!(formatter, "{}; {times} repetitions, median (least–greatest).\n", machine())?;
        writeln!(formatter, "| | {} |", self.contenders.join(" | "))?;
        writeln!(formatter, "|---|{}", "---|".repeat(self.contenders.len()))?;
        for case in CASES {
            let cells = self.contenders.iter().enumerate().map(|(index, contender)| {
                let absolute = || Spread::of(self.figures(case, contender).iter().copied());
                match (self.ratio(case, contender), absolute()) {
                    (Some(_), Some(bare)) if index == 0 => format!("1 = {bare} {}", case.unit),
                    (Some(ratio), _) => format!("{ratio}"),
                    (None, Some(absolute)) => format!("{absolute}"),
                    (None, None) => "–".to_owned(),
                }
            });
            let cells: Vec<String> = cells.collect();
            writeln!(formatter, "| {} | {} |", case.name, cells.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_in_the_middle() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { least: 1.0, median: 2.5, greatest: 4.0 }));
    }

    #[test]
    fn ratios_are_taken_within_a_repetition() {
        let mut results = Results::new(vec!["bare", "ours"]);
        let case =
            CASES.iter().find(|case| case.name.starts_with("CPU per request")).expect("it is measured");
        // The second repetition ran while the machine was slow.
        for (bare, ours) in [(100.0, 110.0), (200.0, 220.0), (100.0, 120.0)] {
            results.add(case, "bare", bare);
            results.add(case, "ours", ours);
        }
        let ratio = results.ratio(case, "ours").expect("it was measured");
        assert_eq!(ratio.to_string(), "1.10 (1.10–1.20)");
        let table = results.to_string();
        let row = "| CPU per request, 50 connections | 1 = 100 (100–200) ns | 1.10 (1.10–1.20) |";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("| the same, 16 deep | – | – |"), "{table}");
    }
}
