//! A line for each target, the worst first, and one for this host.

use std::fmt::Write as _;

use daemon::plural::Plural;

use super::row::{Row, legend};
use super::{View, name};
use crate::observe::verdict::Verdict;

/// How many targets are shown.
const SHOWN: usize = 100;

pub(super) fn of(view: &View<'_>) -> String {
    let View { verdict, now, .. } = view;
    let mut html = String::from(
        "<section class=\"targets\">\n<table>\n<thead><tr><th>target</th><th>state</th><th>last rounds</th>\
         <th>p50</th><th>p99</th><th>loss</th></tr></thead>\n<tbody>\n",
    );
    for (rounds, standing) in verdict.targets.iter().take(SHOWN) {
        let (name, standing, past) = (name(rounds), *standing, &rounds.past());
        let _ = write!(html, "{}", Row { name, standing, past, now: *now });
    }
    let own = view.control.past();
    if !own.is_empty() {
        let trouble = view.own_host_in_trouble;
        let _ = write!(html, "{}", Row::own_host(&own, view.control.standing(), trouble, *now));
    }
    html.push_str("</tbody>\n</table>\n");
    if let Some(rest) = rest(verdict) {
        let _ = writeln!(html, "<p class=\"note\">{rest}</p>");
    }
    let capacity = view.capacity;
    let _ = writeln!(
        html,
        "<p class=\"note\">{}. p50, p99 and loss are those of the last {capacity} rounds of each target. \
         Times are <span class=\"zone\">UTC</span>.</p>\n</section>",
        legend()
    );
    html
}

/// What is to be said of the targets that are not shown.
fn rest(verdict: &Verdict) -> Option<String> {
    let Verdict { targets, failing, unknown } = verdict;
    let hidden = targets.len().checked_sub(SHOWN).filter(|&hidden| hidden > 0)?;
    let failing = failing.saturating_sub(SHOWN);
    let unknown = (verdict.failing + unknown).saturating_sub(SHOWN) - failing;
    let right = hidden - failing - unknown;
    let states: Vec<String> = [(failing, "failing"), (unknown, "not measured"), (right, "right")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let are = if hidden == 1 { "is" } else { "are" };
    let states = if right == hidden && hidden > 1 { "all are right".to_owned() } else { states.join(", ") };
    Some(format!("{} {are} not shown: {states}.", Plural(hidden as u64, "more target")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::tests::{REFUSED, RIGHT, rounds};

    #[test]
    fn targets_that_are_not_shown_are_counted_by_state() {
        let told = |failing: usize, unknown: usize, right: usize| {
            let failing = (0..failing).map(|_| rounds("f", [REFUSED]));
            let unknown = (0..unknown).map(|_| rounds("u", []));
            let right = (0..right).map(|_| rounds("r", [RIGHT]));
            rest(&Verdict::of(failing.chain(unknown).chain(right).collect()))
        };
        assert_eq!(told(3, 0, 97), None);
        assert_eq!(told(3, 0, 98).as_deref(), Some("1 more target is not shown: 1 right."));
        assert_eq!(told(0, 0, 1000).as_deref(), Some("900 more targets are not shown: all are right."));
        let mixed = "30 more targets are not shown: 5 failing, 10 not measured, 15 right.";
        assert_eq!(told(105, 10, 15).as_deref(), Some(mixed));
        assert_eq!(
            told(90, 15, 5).as_deref(),
            Some("10 more targets are not shown: 5 not measured, 5 right.")
        );
    }
}
