//! `addresses = "all"`: each address of a name is a target of its own.

mod support;

use support::honest_at;
use support::names::{DAY, World, wait_for_round_at};
use testkit::dns::{Answer, Kind};
use testkit::{scrape, wait_until};

const NAME: &str = "web.example";
const TARGET: &str = "web.example:8888";
const ALL: [&str; 8] =
    ["--target", TARGET, "--addresses", "all", "--interval", "100ms", "--resolve-max-age", "1ms"];

fn server_at(last: u32) -> String {
    format!("{TARGET}/192.0.2.{last}")
}

#[test]
fn targets_come_and_go_with_the_addresses_of_a_name() {
    let Some(world) = World::enter() else { return };
    for last in 1..=3 {
        honest_at(&format!("192.0.2.{last}:8888"));
    }
    world.dns.set_addresses(NAME, &["192.0.2.1", "192.0.2.2"], DAY);
    let daemon = world.daemon(&ALL);
    for last in 1..=2 {
        let round = wait_for_round_at(&daemon, &format!("192.0.2.{last}:8888"));
        assert_eq!(round["server"], server_at(last));
    }
    let metrics = daemon.metrics_address();
    assert!(!scrape(metrics).text.contains(&format!("server=\"{TARGET}\"")), "the name itself is none");

    world.dns.set(NAME, Kind::A, Answer::Failure);
    let asked = world.dns.queries(NAME, Kind::A);
    world.dns.wait_for_queries(NAME, Kind::A, asked + 2);
    let up = |last| scrape(metrics).value("cliente_up", &[("server", &server_at(last))]);
    let is_up = |last| scrape(metrics).count("cliente_up", &[("server", &server_at(last))]) == 1;
    assert!(is_up(1) && is_up(2), "without an answer, the last one holds");

    world.dns.set_addresses(NAME, &["192.0.2.2", "192.0.2.3"], DAY);
    wait_for_round_at(&daemon, "192.0.2.3:8888");
    wait_until("the first address is probed no more", || up(1).is_nan());
    assert!(is_up(2));
    assert!(daemon.lines_with("round failed").is_empty());
}

#[test]
fn a_name_without_addresses_is_a_target_that_fails() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.1:8888");
    let daemon = world.daemon(&ALL);
    let failed = daemon.wait_for("round failed");
    assert_eq!((&failed["server"], &failed["reason"]), (&TARGET.into(), &"resolve".into()), "{failed}");
    world.dns.set_addresses(NAME, &["192.0.2.1"], DAY);
    wait_for_round_at(&daemon, "192.0.2.1:8888");
    world.dns.set(NAME, Kind::A, Answer::NoName);
    let failures = || daemon.lines_with("round failed").len();
    let before = failures();
    wait_until("the name fails again", || failures() > before);
    assert!(daemon.lines_with("round failed").iter().all(|line| line["server"] == TARGET));
}

#[test]
fn a_limited_run_makes_its_rounds_with_each_address() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.1:8888");
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1", "192.0.2.2"], DAY);
    let output = world.run(&[&ALL[..], &["--count", "3"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for last in 1..=2 {
        let row = text.lines().rfind(|line| line.ends_with(&server_at(last)));
        let words: Vec<&str> = row.into_iter().flat_map(|row| row.split_whitespace().take(4)).collect();
        assert_eq!(words, ["3", "3", "0", "0.0"], "{text}");
    }
}
