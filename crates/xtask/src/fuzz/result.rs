//! What a run of a fuzz target came to, as libFuzzer's log tells it.

use std::fmt::Write as _;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    executions: Option<u64>,
    per_second: u64,
    /// How many edges of the program's flow were passed.
    coverage: u64,
    /// Inputs that reach more than those that were known.
    new_inputs: u64,
    /// The command that replays each input that fails.
    pub(super) finds: Vec<String>,
    /// What a failed run said, if it said something.
    problem: Option<String>,
}

impl Outcome {
    pub(super) fn of(log: &str, finds: Vec<String>) -> Self {
        let statistic = |name: &str| {
            let prefix = format!("stat::{name}:");
            let value = log.lines().rev().find_map(|line| line.strip_prefix(&prefix));
            value.and_then(|value| value.trim().parse().ok())
        };
        let coverage = log.lines().rev().find_map(|line| line.split_once(" cov: "));
        let coverage = coverage.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Self {
            executions: statistic("number_of_executed_units"),
            per_second: statistic("average_exec_per_sec").unwrap_or_default(),
            coverage: coverage.unwrap_or_default(),
            new_inputs: statistic("new_units_added").unwrap_or_default(),
            finds,
            problem: problem(log),
        }
    }

    /// Whether there are any figures.
    pub(super) fn has_run(&self) -> bool {
        self.executions.is_some()
    }

    pub(super) fn in_one_line(&self, name: &str) -> String {
        let problem = self.problem.as_ref().map_or_else(String::new, |problem| format!(": {problem}"));
        let executions = self.executions.unwrap_or_default();
        format!("{name}: {executions} executions, {} finds{problem}", self.finds.len())
    }
}

/// The message of a panic, or libFuzzer's own error.
fn problem(log: &str) -> Option<String> {
    let mut lines = log.lines();
    let panic = lines.find(|line| line.contains(" panicked at "));
    let message = || lines.take(4).collect::<Vec<_>>().join(" ");
    let error = || log.lines().find(|line| line.contains("ERROR: libFuzzer")).map(str::to_owned);
    panic.map(|panic| format!("{} {}", panic.trim(), message())).or_else(error)
}

/// A line for each target.
pub(super) fn table(outcomes: &[(&str, Outcome)]) -> String {
    let mut text = format!(
        "{:<14}{:>12}{:>12}{:>10}{:>12}{:>7}\n",
        "target", "executions", "per second", "coverage", "new inputs", "finds"
    );
    for (name, outcome) in outcomes {
        let Outcome { executions, per_second, coverage, new_inputs, finds, .. } = outcome;
        let (executions, finds) = (executions.unwrap_or_default(), finds.len());
        let _ = writeln!(
            text,
            "{name:<14}{executions:>12}{per_second:>12}{coverage:>10}{new_inputs:>12}{finds:>7}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
INFO: Seed: 7
#2\tINITED cov: 15 ft: 16 corp: 1/1b exec/s: 0 rss: 30Mb
#4096\tNEW    cov: 99 ft: 120 corp: 9/30b lim: 4 exec/s: 2048 rss: 31Mb
#9000\tDONE   cov: 101 ft: 130 corp: 9/30b lim: 4 exec/s: 3000 rss: 31Mb
stat::number_of_executed_units: 9000
stat::average_exec_per_sec:     3000
stat::new_units_added:          8
stat::peak_rss_mb:              31
";

    #[test]
    fn figures_are_read_from_the_log() {
        let outcome = Outcome::of(LOG, Vec::new());
        let (executions, problem) = (Some(9000), None);
        let expected = Outcome {
            executions,
            per_second: 3000,
            coverage: 101,
            new_inputs: 8,
            finds: Vec::new(),
            problem,
        };
        assert_eq!(outcome, expected);
        assert!(
            table(&[("http", outcome)])
                .ends_with("http                  9000        3000       101           8      0\n")
        );
    }

    #[test]
    fn the_message_of_a_panic_is_told() {
        let log = format!("thread '<unnamed>' (7) panicked at reply.rs:7:5:\nassertion failed: x\n{LOG}");
        let outcome = Outcome::of(&log, vec!["reply find-1".to_owned()]);
        let line = outcome.in_one_line("reply");
        assert!(line.starts_with("reply: 9000 executions, 1 finds: thread "), "{line}");
        assert!(line.contains("assertion failed: x"), "{line}");
    }

    #[test]
    fn a_log_without_figures_is_no_run() {
        assert!(!Outcome::of("error while loading shared libraries\n", Vec::new()).has_run());
    }
}
