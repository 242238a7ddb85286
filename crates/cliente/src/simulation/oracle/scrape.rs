//! What a scrape and the report say, compared with the contract.

use super::Oracle;
use super::reading::Reading;

impl Oracle {
    /// Compares the text of a scrape.
    pub(in super::super) fn check_exposition(&mut self, now: u64, text: &str) {
        for number in 0..self.targets.len() {
            let target = &self.targets[number];
            let labels = format!("server=\"{}\"", target.text);
            let value = |name: &str, more: &str| {
                let series = format!("{name}{{{labels}{more}}} ");
                text.lines().find_map(|line| line.strip_prefix(series.as_str())).map(str::to_owned)
            };
            // A target that was never probed, or not for minutes, has none.
            if value("cliente_rounds_total", "").is_none() {
                continue;
            }
            let Reading { rounds, right, disturbed, skipped, connections, failures } = &target.counted;
            let mut expected = vec![
                ("cliente_rounds_total", String::new(), *rounds),
                ("cliente_rounds_disturbed_total", String::new(), *disturbed),
                ("cliente_rounds_skipped_total", String::new(), *skipped),
                ("cliente_connections_total", String::new(), *connections),
                ("cliente_connect_seconds_count", String::new(), *connections),
                ("cliente_round_trip_seconds_count", String::new(), *right),
            ];
            for (reason, count) in failures {
                expected.push(("cliente_round_failures_total", format!(",reason=\"{reason}\""), *count));
            }
            let wrong = expected.into_iter().find_map(|(name, more, expected)| {
                let told = value(name, &more);
                (told.as_deref() != Some(expected.to_string().as_str()))
                    .then(|| format!("{name}{more} is {told:?}, not {expected}"))
            });
            let sum: f64 = value("cliente_round_trip_seconds_sum", "")
                .and_then(|sum| sum.parse().ok())
                .unwrap_or(f64::NAN);
            #[expect(clippy::cast_precision_loss, reason = "it is compared with a tolerance")]
            let expected = target.round_trips as f64 / 1e9;
            let is_right = (sum - expected).abs() <= 1e-9 + expected * 1e-9;
            let wrong = wrong
                .or_else(|| (!is_right).then(|| format!("the round trips are {sum} s, not {expected} s")));
            if let Some(problem) = wrong {
                self.fail(now, format_args!("{labels}: {problem}"));
            }
        }
    }

    /// Compares the summary that `--count --json` prints.
    pub(in super::super) fn check_report(&mut self, now: u64, text: &str) {
        let mut sum = Reading::default();
        self.targets.iter().for_each(|target| sum.add(&target.counted));
        let summary: serde_json::Value = match text.lines().last().map(serde_json::from_str) {
            Some(Ok(summary)) => summary,
            other => return self.fail(now, format_args!("no summary: {other:?}")),
        };
        let count = |field: &str| summary[field].as_u64();
        let cut_short = sum.rounds - sum.ended();
        let skipped =
            count("ticks_skipped_busy").zip(count("ticks_skipped_late")).map(|(busy, late)| busy + late);
        for (field, told, expected) in [
            ("rounds", count("rounds"), sum.rounds),
            ("right", count("right"), sum.right),
            ("failed", count("failed"), sum.failed()),
            ("disturbed", count("disturbed"), sum.disturbed),
            ("cut_short", count("cut_short"), cut_short),
            ("ticks skipped", skipped, sum.skipped),
        ] {
            if told != Some(expected) {
                self.fail(now, format_args!("the summary says {told:?} {field}, not {expected}"));
            }
        }
    }
}
