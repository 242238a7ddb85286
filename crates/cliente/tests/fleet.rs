//! In a fleet, each client probes some of the targets.

mod support;

use std::collections::BTreeSet;

use support::honest_at;
use testkit::{Daemon, Metrics, scrape_until};

const HOSTS: u8 = 12;

/// Servers on several addresses of loopback, which stand for hosts.
fn fleet() -> Vec<String> {
    (1..=HOSTS).map(|host| honest_at(&format!("127.0.0.{host}:0")).to_string()).collect()
}

fn client(targets: &[String], node: &str, fan_out: &str) -> Daemon {
    let targets = targets.join(",");
    let mut arguments = vec!["--target", &targets, "--node", node, "--fan-out", fan_out];
    arguments.extend(["--interval", "200ms"]);
    support::daemon(&arguments)
}

/// The targets that have rounds.
fn probed(metrics: &Metrics, targets: &[String]) -> BTreeSet<String> {
    let is_probed = |target: &&String| {
        let series = format!("cliente_rounds_total{{server=\"{target}\"}} ");
        metrics.text.lines().any(|line| line.strip_prefix(&series).is_some_and(|count| count != "0"))
    };
    targets.iter().filter(is_probed).cloned().collect()
}

fn probes_of(targets: &[String], node: &str, count: usize) -> BTreeSet<String> {
    let client = client(targets, node, &count.to_string());
    let is_complete = |metrics: &Metrics| probed(metrics, targets).len() >= count;
    let metrics = scrape_until(client.metrics_address(), "rounds of all that it chose", is_complete);
    let series = metrics.text.lines().filter(|line| line.starts_with("cliente_up{"));
    assert_eq!(series.count(), count, "no other target has series");
    probed(&metrics, targets)
}

#[test]
fn a_client_of_a_fleet_probes_only_its_share() {
    let targets = fleet();
    let chosen = probes_of(&targets, "127.0.0.3", 4);
    assert_eq!(chosen.len(), 4);
    assert!(chosen.iter().all(|target| !target.starts_with("127.0.0.3:")), "{chosen:?}");
    assert_eq!(chosen, probes_of(&targets, "127.0.0.3", 4), "the choice stays after a restart");
}

#[test]
fn another_node_probes_other_targets() {
    let targets = fleet();
    let all: BTreeSet<_> =
        (1..=HOSTS).map(|host| probes_of(&targets, &format!("127.0.0.{host}"), 2)).collect();
    assert!(all.len() >= 6, "{all:?}");
    let probed: BTreeSet<_> = all.into_iter().flatten().collect();
    assert_eq!(probed.len(), usize::from(HOSTS), "every target is probed");
}
