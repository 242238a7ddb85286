use std::time::Duration;

use daemon::metrics::histogram::MAX_BUCKETS;
use protocol::Number;
use tokio::time::advance;

use super::*;
use crate::round::Outcome;
use crate::settings::Buckets;
use crate::targets::labels::Labels;

fn bounds() -> Bounds {
    <Buckets as daemon::settings::Value>::parse("1ms, 1s").expect("two bounds").bounds()
}

fn target(name: &str, labels: &[(&str, &str)]) -> Labelled {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let labels = Arc::new(Labels::new(labels).expect("labels"));
    Labelled { target: name.parse().expect("a target"), labels }
}

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.write(&mut text);
    text
}

fn right(millis: u64) -> Outcome {
    let time = Duration::from_millis(millis);
    Outcome {
        resolve: Some(time),
        address: None,
        connect: Some(time),
        result: Ok(time),
        elapsed: time,
        disturbed: None,
    }
}

fn round(metrics: &TargetMetrics, millis: u64) {
    metrics.begun();
    metrics.finished(&Number::parse(b"2").expect("a number"), &right(millis));
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_target_that_is_gone_disappear_within_five_minutes() {
    let metrics = Metrics::new(Detail::Full, bounds());
    let both = [target("stays:1", &[]), target("goes:1", &[])];
    round(&metrics.follow(&both)[1], 2);
    assert!(text(&metrics).contains("cliente_up{server=\"goes:1\"} 1\n"));

    metrics.follow(&both[..1]);
    let gone = text(&metrics);
    assert!(gone.contains("cliente_up{server=\"goes:1\"} NaN\n"), "{gone}");
    assert!(gone.contains("cliente_rounds_total{server=\"goes:1\"} 1\n"), "the last counts are read: {gone}");

    advance(Duration::from_secs(299)).await;
    let later = text(&metrics);
    assert!(!later.contains("goes:1") && later.contains("cliente_up{server=\"stays:1\"} 0\n"), "{later}");
}

#[tokio::test(start_paused = true)]
async fn reloads_with_other_targets_each_leave_no_more_than_the_last_few_minutes() {
    let metrics = Metrics::new(Detail::Full, bounds());
    for reload in 0..60 {
        let targets: Vec<_> = (0..20).map(|index| target(&format!("t{reload}-{index}:1"), &[])).collect();
        metrics.follow(&targets);
        advance(Duration::from_mins(1)).await;
    }
    assert!(text(&metrics).matches("cliente_up{").count() <= 5 * 20);
}

#[test]
fn a_target_that_is_dropped_and_put_back_during_a_round_is_up() {
    let metrics = Metrics::new(Detail::Full, bounds());
    let targets = [target("a:1", &[])];
    let under_way = metrics.follow(&targets).remove(0);
    under_way.begun();
    metrics.follow(&[]);
    let anew = metrics.follow(&targets).remove(0);
    round(&anew, 2);
    under_way.finished(&Number::parse(b"2").expect("a number"), &right(2));
    let text = text(&metrics);
    assert!(text.contains("cliente_up{server=\"a:1\"} 1\n"), "{text}");
    assert!(text.contains("cliente_rounds_total{server=\"a:1\"} 2\n"), "{text}");
}

#[test]
fn labels_are_on_every_series_and_other_labels_are_other_series() {
    for detail in [Detail::Full, Detail::Compact] {
        let metrics = Metrics::new(detail, bounds());
        round(&metrics.follow(&[target("a:1", &[("zone", "x"), ("rack", "7")])])[0], 2);
        let text = text(&metrics);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        for sample in samples {
            assert!(sample.contains("rack=\"7\",zone=\"x\""), "{sample}");
        }
        metrics.follow(&[target("a:1", &[("zone", "y")])]);
        let moved = self::text(&metrics);
        assert!(moved.contains("cliente_up{server=\"a:1\",rack=\"7\",zone=\"x\"} NaN\n"), "{moved}");
        assert!(moved.contains("cliente_rounds_total{server=\"a:1\",zone=\"y\"} 0\n"), "{moved}");
    }
}

/// How many more series there are with one more target of the same labels.
fn series_per_target(detail: Detail) -> usize {
    let most = Bounds::new((1..=MAX_BUCKETS as u64).map(|bound| bound * 1000));
    let metrics = Metrics::new(detail, most);
    let count = || text(&metrics).lines().filter(|line| !line.starts_with('#')).count();
    metrics.follow(&[target("a:1", &[])]);
    let one = count();
    metrics.follow(&[target("a:1", &[]), target("b:1", &[])]);
    count() - one
}

#[test]
fn a_target_has_at_most_70_series_in_full_and_28_in_compact() {
    assert!(series_per_target(Detail::Full) <= 70, "{}", series_per_target(Detail::Full));
    assert!(series_per_target(Detail::Compact) <= 28, "{}", series_per_target(Detail::Compact));
}

#[test]
fn in_compact_targets_have_sums_and_counts_and_their_groups_have_histograms() {
    let metrics = Metrics::new(Detail::Compact, bounds());
    let zones = [("a:1", "x"), ("b:1", "x"), ("c:1", "y")];
    let followed = metrics.follow(&zones.map(|(name, zone)| target(name, &[("zone", zone)])));
    for (counts, millis) in followed.iter().zip([1, 2, 3000]) {
        round(counts, millis);
    }
    let text = text(&metrics);
    for line in [
        "# TYPE cliente_round_trip_seconds summary",
        "cliente_round_trip_seconds_sum{server=\"b:1\",zone=\"x\"} 0.002",
        "cliente_round_trip_seconds_count{server=\"b:1\",zone=\"x\"} 1",
        "cliente_connect_seconds_sum{server=\"c:1\",zone=\"y\"} 3",
        "cliente_resolve_seconds_count{server=\"c:1\",zone=\"y\"} 1",
        "# TYPE cliente_group_round_trip_seconds histogram",
        "cliente_group_round_trip_seconds_bucket{zone=\"x\",le=\"0.001\"} 1",
        "cliente_group_round_trip_seconds_bucket{zone=\"x\",le=\"+Inf\"} 2",
        "cliente_group_round_trip_seconds_sum{zone=\"x\"} 0.003",
        "cliente_group_round_trip_seconds_bucket{zone=\"y\",le=\"1\"} 0",
        "cliente_group_connect_seconds_count{zone=\"y\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
    let has_server = |line: &str| line.contains("_bucket{") && line.contains("server=");
    assert!(!text.lines().any(has_server), "{text}");
}
