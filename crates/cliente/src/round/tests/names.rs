//! Rounds with targets that have names, which a name server of the test knows.

use std::fs;
use std::net::IpAddr;

use tempfile::TempDir;
use testkit::DEADLINE;
use testkit::dns::{Answer, Dns, Kind};
use tokio::join;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::super::*;
use super::session::{asked, round, say};
use super::{FRESH, KEPT, number};
use crate::resolve::Family;
use crate::round::reason::Reason;

const NAME: &str = "web.example";
const HOUR: Duration = Duration::from_hours(1);
const DAY: u32 = 86_400;

/// A name server, the files that lead to it, and a server on 127.0.0.1.
struct World {
    dns: Dns,
    folder: TempDir,
    listener: TcpListener,
}

impl World {
    async fn new() -> Self {
        let dns = Dns::at("127.0.0.1:0");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\nsearch example\n")
            .expect("a folder");
        Self { dns, folder, listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    fn resolver(&self) -> Resolver {
        let file = |name| self.folder.path().join(name);
        Resolver::with_files(&file("resolv.conf"), &file("hosts"), self.dns.address().port())
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("it is bound").port()
    }

    fn session(&self, name: &str) -> Session {
        let target = format!("{name}:{}", self.port()).parse().expect("a target");
        Session::new(target, StallMeter::default(), self.resolver())
    }

    /// A round that is answered.
    async fn right(&self, session: &mut Session, options: Options) -> Outcome {
        let serve = async { say(&mut asked(&self.listener).await, b"PAR\n").await };
        let (outcome, ()) = join!(session.round(number("42"), options), serve);
        assert!(outcome.result.is_ok(), "{outcome:?}");
        outcome
    }

    async fn error(&self, session: &mut Session, options: Options) -> String {
        session.round(number("42"), options).await.result.expect_err("no address").to_string()
    }
}

fn with(max_age: Duration, family: Family, source: Option<IpAddr>) -> Options {
    Options { wanted: Wanted { family, source, max_age }, ..FRESH }
}

#[tokio::test]
async fn answers_are_used_as_long_as_their_ttl_says_but_no_longer_than_the_setting() {
    let millisecond = Duration::from_millis(1);
    for (ttl, max_age, queries) in [(DAY, HOUR, 1), (0, HOUR, 3), (DAY, millisecond, 3)] {
        let world = World::new().await;
        world.dns.set_addresses(NAME, &["127.0.0.1"], ttl);
        let mut session = world.session(NAME);
        for round in 0..3 {
            let outcome = world.right(&mut session, with(max_age, Family::Any, None)).await;
            assert_eq!(outcome.resolve.is_some(), round == 0 || queries == 3, "{ttl} {max_age:?}");
            // What lives for a millisecond is dead then.
            sleep(2 * millisecond).await;
        }
        assert_eq!(world.dns.queries(NAME, Kind::A), queries, "{ttl} {max_age:?}");
    }
}

#[tokio::test]
async fn a_failed_round_and_a_server_that_stops_ask_anew() {
    let world = World::new().await;
    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    let mut session = world.session(NAME);
    let options = with(HOUR, Family::Any, None);
    world.right(&mut session, options).await;
    let closes = async { drop(asked(&world.listener).await) };
    assert_eq!(round(&mut session, options, closes).await, Err(Reason::Closed));
    assert_eq!(world.dns.queries(NAME, Kind::A), 1);
    world.right(&mut session, options).await;
    assert_eq!(world.dns.queries(NAME, Kind::A), 2, "the round before failed");
    // The reply ends with the stream, as from a server that drains.
    let stops = async { say(&mut asked(&world.listener).await, b"PAR").await };
    assert!(round(&mut session, options, stops).await.is_ok());
    world.right(&mut session, options).await;
    assert_eq!(world.dns.queries(NAME, Kind::A), 3, "the server before stopped");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_ended_asks_anew() {
    let world = World::new().await;
    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    let mut session = world.session(NAME);
    world.right(&mut session, KEPT).await;
    let kept = &session.kept.as_ref().expect("a kept connection").stream;
    kept.readable().await.expect("its end");
    world.right(&mut session, KEPT).await;
    assert_eq!(world.dns.queries(NAME, Kind::A), 2);
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_the_name_moves_and_only_then() {
    let world = World::new().await;
    world.dns.set_addresses(NAME, &["127.0.0.1"], 0);
    let mut session = world.session(NAME);
    let serve = async {
        let mut stream = asked(&world.listener).await;
        say(&mut stream, b"PAR\n").await;
        stream
    };
    let (outcome, _stream) = join!(session.round(number("42"), KEPT), serve);
    assert!(outcome.result.is_ok());
    let follow =
        async |session: &mut Session| timeout(DEADLINE, session.follow(KEPT)).await.expect("it ends");
    follow(&mut session).await;
    assert!(session.kept.is_some(), "nothing has changed");
    world.dns.set(NAME, Kind::A, Answer::Failure);
    follow(&mut session).await;
    assert!(session.kept.is_some(), "nobody knows");
    world.dns.set_addresses(NAME, &["127.0.0.2"], 0);
    follow(&mut session).await;
    assert!(session.kept.is_none(), "the name has moved");
}

#[tokio::test]
async fn families_and_the_source_decide_which_addresses_are_used() {
    let world = World::new().await;
    world.dns.set_addresses(NAME, &["127.0.0.1", "::1"], DAY);
    let source = |text: &str| Some(text.parse().expect("an address"));
    let mut session = world.session(NAME);
    let outcome = world.right(&mut session, with(HOUR, Family::Ipv4, None)).await;
    assert_eq!(outcome.address, Some(([127, 0, 0, 1], world.port()).into()));
    let outcome = world.right(&mut session, with(HOUR, Family::Any, source("127.0.0.7"))).await;
    assert_eq!(outcome.address, Some(([127, 0, 0, 1], world.port()).into()));
    assert_eq!(world.dns.queries(NAME, Kind::Aaaa), 0, "nobody wanted them");

    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    let error = world.error(&mut session, with(HOUR, Family::Ipv6, None)).await;
    let text = "the name cannot be resolved: it has no IPv6 address, and no other may be used";
    assert_eq!(error, text);
    assert_eq!(world.error(&mut session, with(HOUR, Family::Any, source("::1"))).await, text);
    let mut literal = world.session("127.0.0.1");
    assert_eq!(world.error(&mut literal, with(HOUR, Family::Ipv6, None)).await, text);
    let error = world.error(&mut session, with(HOUR, Family::Ipv6, source("127.0.0.7"))).await;
    assert!(error.ends_with("`source-address` is not of the family that `address-family` says"), "{error}");
}

#[tokio::test]
async fn an_address_that_refuses_does_not_hide_one_that_accepts() {
    let world = World::new().await;
    // The port is this test's own, on another address of the loopback network.
    world.dns.set_addresses(NAME, &["127.0.0.2", "127.0.0.1"], DAY);
    let outcome = world.right(&mut world.session(NAME), FRESH).await;
    assert_eq!(outcome.address, Some(([127, 0, 0, 1], world.port()).into()));
}

#[tokio::test]
async fn names_of_the_hosts_file_are_found_without_a_name_server() {
    let world = World::new().await;
    fs::remove_file(world.folder.path().join("resolv.conf")).expect("it is there");
    fs::write(world.folder.path().join("hosts"), "127.0.0.1 web\n").expect("a folder");
    world.right(&mut world.session("WEB"), FRESH).await;
    world.right(&mut world.session("127.0.0.1"), FRESH).await;
    let path = world.folder.path().join("resolv.conf");
    let error = world.error(&mut world.session(NAME), FRESH).await;
    assert_eq!(error, format!("the name cannot be resolved: no name server in {}", path.display()));
}

#[tokio::test]
async fn why_a_name_has_no_address() {
    let world = World::new().await;
    world.dns.set("none.example", Kind::Srv, Answer::NoName);
    world.dns.set_zone("broken.example", Answer::Failure);
    for (name, problem) in [
        ("nobody.example", "no such name"),
        ("none.example", "it has no address"),
        ("a.broken.example", "name server 127.0.0.1: Server Failure"),
    ] {
        let error = world.error(&mut world.session(name), FRESH).await;
        assert_eq!(error, format!("the name cannot be resolved: {problem}"));
    }
    let long = format!("{}:1", "a".repeat(64)).parse().expect("a target");
    let mut session = Session::new(long, StallMeter::default(), world.resolver());
    assert!(world.error(&mut session, FRESH).await.ends_with("no such name"));
}

#[tokio::test]
async fn search_domains_complete_short_names() {
    let world = World::new().await;
    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    world.right(&mut world.session("web"), FRESH).await;
}

#[tokio::test]
async fn a_look_up_that_takes_too_long_does_not_resolve() {
    let world = World::new().await;
    world.dns.set_zone("example", Answer::Dropped);
    let limit = Duration::from_millis(50);
    let outcome = world.session(NAME).round(number("42"), Options { connect_timeout: limit, ..FRESH }).await;
    assert_eq!((outcome.connect, outcome.resolve), (None, None));
    assert!(outcome.elapsed >= limit, "{:?}", outcome.elapsed);
    let failure = outcome.result.expect_err("no address was found in time");
    assert_eq!(failure.reason(), Reason::Resolve);
    assert_eq!(failure.to_string(), "the name was not resolved within 50ms");
}

#[tokio::test]
async fn a_query_or_an_answer_that_is_lost_is_sent_again() {
    let world = World::new().await;
    world.dns.set_zone("example", Answer::Dropped);
    let comes_back = async {
        while world.dns.queries(NAME, Kind::A) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    };
    let mut session = world.session(NAME);
    join!(world.right(&mut session, FRESH), comes_back);
    assert!(world.dns.queries(NAME, Kind::A) > 1);
}

#[tokio::test]
async fn another_name_server_is_asked_when_one_fails() {
    let world = World::new().await;
    let text = "nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.1\n";
    fs::write(world.folder.path().join("resolv.conf"), text).expect("a folder");
    // 127.0.0.2 has no name server at all.
    let fails = Dns::at(&format!("127.0.0.3:{}", world.dns.address().port()));
    fails.set_zone("example", Answer::Failure);
    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    world.right(&mut world.session(NAME), FRESH).await;
    assert!(fails.queries(NAME, Kind::A) > 0);
}

#[tokio::test]
async fn a_services_hosts_are_tried_by_priority_and_at_their_own_ports() {
    let world = World::new().await;
    let service = "_canary._tcp.example";
    // The first one's port is taken by nobody on this address.
    world.dns.set_addresses("first.example", &["127.0.0.2"], DAY);
    world.dns.set_addresses(NAME, &["127.0.0.1"], DAY);
    let hosts =
        vec![(20, 0, world.port(), NAME.to_owned()), (10, 0, world.port(), "first.example".to_owned())];
    world.dns.set(service, Kind::Srv, Answer::Hosts(hosts, DAY));
    let target = || format!("srv:{service}").parse().expect("a target");
    let mut session = Session::new(target(), StallMeter::default(), world.resolver());
    let outcome = world.right(&mut session, FRESH).await;
    assert_eq!(outcome.address, Some(([127, 0, 0, 1], world.port()).into()));

    world.dns.set(
        service,
        Kind::Srv,
        Answer::Hosts(vec![(10, 0, world.port(), "first.example".to_owned())], DAY),
    );
    let mut session = Session::new(target(), StallMeter::default(), world.resolver());
    let address = SocketAddr::from(([127, 0, 0, 2], world.port()));
    let outcome = session.round(number("42"), FRESH).await;
    assert_eq!(outcome.address, Some(address));
    assert_eq!(outcome.result.expect_err("it refuses").reason(), Reason::Refused);
}
