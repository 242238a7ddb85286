//! Targets with names, asked about at a name server whose every answer the test decides, in a network of its own.

mod support;

use std::collections::HashMap;

use support::names::{DAY, World, silent, wait_for_round_at};
use support::{honest_at, wait_for_rounds};
use testkit::dns::{Answer, Kind};
use testkit::{Metrics, scrape, scrape_until, wait_until};

const NAME: &str = "web.example";
const TARGET: &str = "web.example:8888";

#[test]
fn a_dead_first_address_does_not_hide_a_living_second() {
    let Some(world) = World::enter() else { return };
    let _silent = silent("192.0.2.1:8888");
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1", "192.0.2.2"], DAY);
    let daemon = world.daemon(&["--target", TARGET, "--interval", "1s"]);
    wait_for_round_at(&daemon, "192.0.2.2:8888");
    assert!(daemon.lines_with("round failed").is_empty());
    let info = [("server", TARGET), ("address", "192.0.2.2:8888")];
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("cliente_target_info", &info), 1);
    assert_eq!(metrics.count("cliente_resolve_seconds_count", &[("server", TARGET)]), 1);
}

#[test]
fn an_address_of_the_other_family_does_not_hide_a_living_one() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses(NAME, &["2001:db8::9", "192.0.2.2"], DAY);
    let daemon = world.daemon(&["--target", TARGET, "--interval", "1h"]);
    wait_for_round_at(&daemon, "192.0.2.2:8888");
}

#[test]
fn an_answer_about_one_family_that_is_lost_does_not_hold_up_the_other() {
    for (lost, address) in [(Kind::Aaaa, "192.0.2.2"), (Kind::A, "2001:db8::1")] {
        let Some(world) = World::enter() else { return };
        let server =
            format!("{}:8888", if lost == Kind::A { format!("[{address}]") } else { address.into() });
        honest_at(&server);
        world.dns.set_addresses(NAME, &[address], DAY);
        world.dns.set(NAME, lost, Answer::Dropped);
        let daemon = world.daemon(&["--target", TARGET, "--interval", "1h", "--connect-timeout", "2s"]);
        let round = wait_for_round_at(&daemon, &server);
        assert!(world.dns.queries(NAME, lost) > 0, "{round}");
    }
}

#[test]
fn an_address_that_is_found_late_joins_the_attempts() {
    let Some(world) = World::enter() else { return };
    let _silent = silent("192.0.2.1:8888");
    honest_at("[2001:db8::1]:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1"], DAY);
    world.dns.set(NAME, Kind::Aaaa, Answer::Dropped);
    let daemon = world.daemon(&["--target", TARGET, "--interval", "1h", "--connect-timeout", "10s"]);
    world.dns.wait_for_queries(NAME, Kind::Aaaa, 1);
    world.dns.set_addresses(NAME, &["192.0.2.1", "2001:db8::1"], DAY);
    wait_for_round_at(&daemon, "[2001:db8::1]:8888");
    assert!(world.dns.queries(NAME, Kind::Aaaa) > 1, "the query was sent again");
}

#[test]
fn a_name_server_that_fails_and_recovers() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:8888");
    world.dns.set_zone("example", Answer::Failure);
    let daemon = world.daemon(&["--target", TARGET, "--interval", "100ms"]);
    let failed = daemon.wait_for("round failed");
    assert_eq!(failed["reason"], "resolve", "{failed}");
    assert_eq!(failed["error"], "the name cannot be resolved: name server 127.0.0.53: Server Failure");
    world.dns.set_addresses(NAME, &["192.0.2.2"], DAY);
    wait_for_round_at(&daemon, "192.0.2.2:8888");
}

#[test]
fn fresh_and_kept_connections_follow_a_name_that_moves() {
    for connection in ["fresh", "kept"] {
        let Some(world) = World::enter() else { return };
        honest_at("192.0.2.1:8888");
        honest_at("192.0.2.2:8888");
        world.dns.set_addresses(NAME, &["192.0.2.1"], DAY);
        let arguments = ["--target", TARGET, "--interval", "50ms", "--resolve-max-age", "100ms"];
        let daemon = world.daemon(&[&arguments[..], &["--connection", connection]].concat());
        wait_for_round_at(&daemon, "192.0.2.1:8888");
        world.dns.set_addresses(NAME, &["192.0.2.2"], DAY);
        wait_for_round_at(&daemon, "192.0.2.2:8888");
        assert!(daemon.lines_with("round failed").is_empty(), "{connection}");
        let metrics = daemon.metrics_address();
        let is_used = |metrics: &Metrics, address| {
            metrics
                .text
                .contains(&format!("cliente_target_info{{server=\"{TARGET}\",address=\"{address}\"}} 1\n"))
        };
        let metrics =
            scrape_until(metrics, "the new address is named", |metrics| is_used(metrics, "192.0.2.2:8888"));
        assert!(!is_used(&metrics, "192.0.2.1:8888"), "{}", metrics.text);
    }
}

#[test]
fn five_hundred_names_that_hang_keep_no_other_target_from_its_rounds() {
    testkit::allow_open_files();
    let Some(world) = World::enter() else { return };
    let servers: Vec<_> = (0..10).map(|_| honest_at("192.0.2.1:0").port()).collect();
    world.dns.set_zone("dead.example", Answer::Dropped);
    let mut targets = Vec::new();
    for number in 0..500 {
        let name = format!("{number}.live.example");
        world.dns.set_addresses(&name, &["192.0.2.1"], DAY);
        targets.push(format!("{name}:{}", servers[number % servers.len()]));
        targets.push(format!("{number}.dead.example:8888"));
    }
    let arguments = ["--interval", "5s", "--log-events-per-second", "100000"];
    let daemon = world.daemon(&[&["--target", &targets.join(",")], &arguments[..]].concat());
    let rounds = || {
        let mut rounds = HashMap::new();
        for line in daemon.lines_with("round completed") {
            *rounds.entry(line["server"].to_string()).or_insert(0) += 1;
        }
        rounds
    };
    wait_until("each healthy target has had two rounds", || {
        let rounds = rounds();
        rounds.len() == 500 && rounds.values().all(|&count| count >= 2)
    });
    let failed = daemon.lines_with("round failed");
    assert!(failed.len() >= 500, "{}", failed.len());
    for line in failed {
        assert_eq!(line["reason"], "resolve", "{line}");
        assert!(line["server"].as_str().is_some_and(|server| server.contains("dead")), "{line}");
    }
}

#[test]
fn resolv_conf_may_change_be_empty_or_absent() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses(NAME, &["192.0.2.2"], DAY);
    world.namespace.remove("resolv.conf");
    let targets = format!("{TARGET},192.0.2.2:8888");
    let daemon = world.daemon(&["--target", &targets, "--interval", "100ms", "--resolve-max-age", "1ms"]);
    let failed = daemon.wait_for("round failed");
    assert_eq!((&failed["server"], &failed["reason"]), (&TARGET.into(), &"resolve".into()), "{failed}");
    assert_eq!(failed["error"], "the name cannot be resolved: no name server in /etc/resolv.conf");
    daemon.wait_for_line("literals need no file", |line| {
        line["message"] == "round completed" && line["server"] == "192.0.2.2:8888"
    });
    let last = || {
        let lines = daemon.lines();
        let last = lines.iter().rfind(|line| line["server"] == TARGET).expect("a round");
        last["message"] == "round completed"
    };
    world.namespace.write("resolv.conf", "nameserver 127.0.0.53\n");
    wait_until("it is read when it comes", last);
    world.namespace.write("resolv.conf", "");
    wait_until("it is read when it is emptied", || !last());
    world.namespace.write("resolv.conf", "nameserver 127.0.0.53\n");
    wait_until("it is read when it is filled", last);
}

#[test]
fn the_hosts_file_comes_first_and_is_read_again() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.1:8888");
    honest_at("192.0.2.2:8888");
    honest_at("192.0.2.3:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1"], DAY);
    world.namespace.write("hosts", "192.0.2.2 web.example\n");
    let daemon = world.daemon(&["--target", TARGET, "--interval", "100ms", "--resolve-max-age", "1ms"]);
    wait_for_round_at(&daemon, "192.0.2.2:8888");
    assert_eq!(world.dns.queries(NAME, Kind::A), 0, "nobody need be asked");
    world.namespace.write("hosts", "192.0.2.3 web.example\n");
    wait_for_round_at(&daemon, "192.0.2.3:8888");
    world.namespace.remove("hosts");
    wait_for_round_at(&daemon, "192.0.2.1:8888");
}

#[test]
fn search_domains_complete_a_short_name() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:8888");
    world.dns.set_addresses(NAME, &["192.0.2.2"], DAY);
    let daemon = world.daemon(&["--target", "web:8888", "--interval", "1h"]);
    assert_eq!(wait_for_rounds(&daemon, 1)[0]["server"], "web:8888");
}
