//! What the page shows of the client: each target with its state, the worst first.

mod chart;
mod row;
mod table;
mod words;

use std::fmt::Write as _;

use daemon::http::page::{Escaped, Level, Sections, figures};

use crate::observe::history::{Now, Rounds};
use crate::observe::verdict::Verdict;

/// How many targets have a large chart.
const CHARTS: usize = 3;
/// As much of a target's name as is shown.
const NAME_SHOWN: usize = 64;
/// A name of this length fits in its column.
const NAME_UNBROKEN: usize = 22;

/// What is to be shown.
pub(crate) struct View<'a> {
    /// Rounds, right ones, failed ones, disturbed ones and skipped ticks since the start.
    pub(crate) counts: [u64; 5],
    pub(crate) verdict: &'a Verdict,
    pub(crate) control: &'a Rounds,
    pub(crate) own_host_in_trouble: bool,
    /// How many rounds of a target are remembered.
    pub(crate) capacity: usize,
    pub(crate) now: Now,
}

pub(crate) fn of(view: &View<'_>) -> Sections {
    let mut html = String::new();
    if view.own_host_in_trouble {
        html.push_str(
            "<p class=\"warning\" role=\"alert\">This host is in trouble: the round that it makes with itself \
             failed or was slow. The failures below may be its own.</p>\n",
        );
    }
    html.push_str(&table::of(view));
    for (rounds, _) in view.verdict.targets.iter().take(CHARTS) {
        let past = rounds.past();
        if past.is_empty() {
            continue;
        }
        let title = format!("The last rounds of {}", name(rounds));
        let _ = writeln!(html, "<section><h2>{title}</h2>\n{}</section>", chart::of(&past, view.now));
    }
    html.push_str(&since_the_start(view.counts));
    Sections { verdict: Some(verdict(view)), html }
}

fn verdict(view: &View<'_>) -> (Level, String) {
    let Verdict { targets, failing, unknown } = view.verdict;
    let level = match (*failing, *unknown) {
        _ if view.own_host_in_trouble => Level::Bad,
        (0, 0) if !targets.is_empty() => Level::Good,
        (0, _) => Level::Unknown,
        _ => Level::Bad,
    };
    let own_host = if view.own_host_in_trouble { ", this host is in trouble" } else { "" };
    (level, format!("{}{own_host}", view.verdict))
}

fn since_the_start([rounds, right, failed, disturbed, skipped]: [u64; 5]) -> String {
    let bad = if failed == 0 { "" } else { " class=\"bad\"" };
    figures(&[
        ("rounds since the start", rounds.to_string()),
        ("right", right.to_string()),
        ("failed", format!("<span{bad}>{failed}</span>")),
        ("disturbed", disturbed.to_string()),
        ("ticks skipped", skipped.to_string()),
    ])
}

/// The name of a target in HTML, cut if it is very long, with places at which a long one may be broken.
fn name(rounds: &Rounds) -> String {
    let mut name: String = rounds.name().chars().take(NAME_SHOWN).collect();
    if name.len() < rounds.name().len() {
        name.push('…');
    }
    let name = Escaped(name).to_string();
    if name.len() > NAME_UNBROKEN { name.replace('.', ".<wbr>") } else { name }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::history::tests::{REFUSED, RIGHT, rounds};
    use crate::observe::history::{CAPACITY, History, PastResult};

    fn page(targets: Vec<Arc<Rounds>>, own_host_in_trouble: bool) -> Sections {
        let history = History::default();
        let counts = [0; 5];
        let verdict = &Verdict::of(targets);
        let (control, capacity) = (&history.control, CAPACITY);
        of(&View { counts, verdict, control, own_host_in_trouble, capacity, now: history.now() })
    }

    #[test]
    fn the_verdict_is_good_only_if_all_targets_are_measured_and_right() {
        let (right, failing, unknown) = (rounds("r", [RIGHT]), rounds("f", [REFUSED]), rounds("u", []));
        let verdict = |targets: &[&Arc<Rounds>], own_host_in_trouble| {
            let targets = targets.iter().map(|&target| Arc::clone(target)).collect();
            page(targets, own_host_in_trouble).verdict.expect("one")
        };
        for (targets, own_host_in_trouble, level, words) in [
            (&[&right, &right][..], false, Level::Good, "all 2 right"),
            (&[&right, &failing], false, Level::Bad, "1 of 2 failing"),
            (&[&right, &unknown], false, Level::Unknown, "1 of 2 right, 1 not measured"),
            (&[], false, Level::Unknown, "no targets"),
            (&[&right], true, Level::Bad, "right, this host is in trouble"),
        ] {
            assert_eq!(verdict(targets, own_host_in_trouble), (level, words.to_owned()));
        }
        assert!(page(vec![right.clone()], true).html.starts_with("<p class=\"warning\""));
        assert!(!page(vec![right], false).html.contains("class=\"warning\""));
    }

    #[test]
    fn a_thousand_targets_with_long_and_hostile_names_are_a_small_page_and_harmless() {
        let result = |round: usize| if round.is_multiple_of(2) { RIGHT } else { PastResult::Disturbed };
        let name = |target: usize| format!("<b>{target}{}:1", "a".repeat(240));
        let targets = (0..1000).map(|target| rounds(&name(target), (0..CAPACITY).map(result))).collect();
        let html = page(targets, false).html;
        assert!(html.contains("900 more targets are not shown: all are right."), "{html}");
        assert!(!html.contains("<b>0"), "{html}");
        assert!(html.len() < 200_000, "{}", html.len());
    }
}
