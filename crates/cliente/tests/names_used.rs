//! Which of a name's addresses are used, from where, and what is told if none can be.

mod support;

use std::sync::mpsc::channel;

use support::names::{DAY, World, address, silent, wait_for_round_at};
use support::{honest_at, serve_at, wait_for_rounds};
use testkit::DEADLINE;
use testkit::dns::{Answer, Kind};

const NAME: &str = "web.example";
const TARGET: &str = "web.example:8888";

#[test]
fn only_the_wanted_family_is_used() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.1:8888");
    honest_at("[2001:db8::1]:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1", "2001:db8::1"], DAY);
    for (family, wanted, unwanted) in
        [("ipv4", "192.0.2.1:8888", Kind::Aaaa), ("ipv6", "[2001:db8::1]:8888", Kind::A)]
    {
        let asked = world.dns.queries(NAME, unwanted);
        let daemon = world.daemon(&["--target", TARGET, "--interval", "1h", "--address-family", family]);
        wait_for_round_at(&daemon, wanted);
        assert_eq!(world.dns.queries(NAME, unwanted), asked, "{family}");
    }
    let daemon =
        world.daemon(&["--target", "192.0.2.1:8888", "--interval", "1h", "--address-family", "ipv6"]);
    let failed = daemon.wait_for("round failed");
    assert_eq!(failed["reason"], "resolve");
    let text = "the name cannot be resolved: it has no IPv6 address, and no other may be used";
    assert_eq!(failed["error"], text);
}

#[test]
fn rounds_are_made_from_the_source_address() {
    let Some(world) = World::enter() else { return };
    let (sender, clients) = channel();
    serve_at("192.0.2.1:8888", move |mut asked| {
        let reply = asked.right();
        sender.send(asked.client()).expect("the test waits");
        asked.say(&reply);
    });
    world.dns.set_addresses(NAME, &["192.0.2.1", "2001:db8::1"], DAY);
    let arguments = ["--target", TARGET, "--interval", "1h", "--source-address"];
    let daemon = world.daemon(&[&arguments[..], &["192.0.2.3"]].concat());
    assert_eq!(clients.recv_timeout(DEADLINE).expect("a round").ip().to_string(), "192.0.2.3");
    assert_eq!(address(&wait_for_rounds(&daemon, 1)[0]), "192.0.2.1:8888");
    assert_eq!(world.dns.queries(NAME, Kind::Aaaa), 0, "they could not be reached from there");

    let daemon = world.daemon(&[&arguments[..], &["203.0.113.9"]].concat());
    let failed = daemon.wait_for("round failed");
    let text = "no connection to 192.0.2.1:8888: Cannot assign requested address (os error 99)";
    assert_eq!((&failed["reason"], &failed["error"]), (&"other".into(), &text.into()));
}

#[test]
fn the_most_telling_reason_is_told_and_each_address_with_its_own() {
    let Some(world) = World::enter() else { return };
    let _silent = silent("192.0.2.2:8888");
    let refuses = "192.0.2.1:8888: Connection refused (os error 111)";
    let no_route = "198.51.100.1:8888: No route to host (os error 113)";
    let silence = "192.0.2.2:8888: no answer within 2s";
    for (addresses, reason, errors, about) in [
        (&["198.51.100.1", "192.0.2.1"][..], "refused", &[no_route, refuses][..], "192.0.2.1:8888"),
        (&["198.51.100.1", "192.0.2.2"], "connect_timeout", &[no_route, silence], "192.0.2.2:8888"),
        (&["192.0.2.2", "192.0.2.1"], "refused", &[silence, refuses], "192.0.2.1:8888"),
        (&["198.51.100.1"], "unreachable", &[no_route], "198.51.100.1:8888"),
    ] {
        world.dns.set_addresses(NAME, addresses, DAY);
        let daemon = world.daemon(&["--target", TARGET, "--interval", "1h", "--connect-timeout", "2s"]);
        let failed = daemon.wait_for("round failed");
        assert_eq!(failed["reason"], reason, "{failed}");
        assert_eq!(failed["error"], format!("no connection to {}", errors.join("; ")));
        assert_eq!(address(&failed), about);
    }
}

#[test]
fn a_service_leads_to_its_hosts() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.2:9001");
    let hosts = vec![(20, 0, 9002, NAME.to_owned()), (10, 0, 9001, NAME.to_owned())];
    world.dns.set("_canary._tcp.example", Kind::Srv, Answer::Hosts(hosts, DAY));
    world.dns.set_addresses(NAME, &["192.0.2.2"], DAY);
    let daemon = world.daemon(&["--target", "srv:_canary._tcp.example", "--interval", "1h"]);
    let round = wait_for_round_at(&daemon, "192.0.2.2:9001");
    assert_eq!(round["server"], "srv:_canary._tcp.example");
}

#[test]
fn the_time_to_resolve_has_a_column_and_a_line_of_the_report() {
    let Some(world) = World::enter() else { return };
    honest_at("192.0.2.1:8888");
    world.dns.set_addresses(NAME, &["192.0.2.1"], DAY);
    let arguments = ["--target", TARGET, "--interval", "10ms", "--count", "2", "--resolve-max-age", "1h"];
    let output = world.run(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0].join(" "), "# number class resolve connect round trip target");
    assert_eq!((words[1].len(), words[2].len()), (10, 9), "{text}");
    assert_eq!(words[2][3], "-", "the address is known by then: {text}");
    let columns = |line: &str| line.split(TARGET).next().map(|before| before.chars().count());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(columns(lines[1]), columns(lines[2]), "{text}");
    assert!(text.contains("\nresolve  "), "{text}");
}

#[test]
fn bench_gives_up_a_name_within_its_timeout() {
    let Some(world) = World::enter() else { return };
    world.dns.set_zone("example", Answer::Dropped);
    let output = world.run(&["--connect-timeout", "500ms", "bench", "--target", TARGET]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the name was not resolved within 500ms"), "{said}");
}
