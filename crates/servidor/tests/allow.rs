//! `allow`: which source addresses are served, and what happens to the others.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use common::{start, start_inheriting};
use socket2::{Domain, Socket, Type};
use testkit::{Peer, scrape, wait_until};

/// Connects from `source`, an address of the loopback range.
fn connect_from(source: [u8; 4], to: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from((Ipv4Addr::from(source), 0));
    socket.bind(&source.into()).expect("all of 127.0.0.0/8 is this host");
    socket.connect(&to.into()).expect("the daemon's kernel accepts");
    Peer::from(TcpStream::from(socket))
}

#[test]
fn peers_outside_the_list_are_closed_and_counted_and_take_no_permit() {
    let daemon = start(&["--allow", "127.0.0.2/32,127.1.0.0/16", "--max-connections", "1"]);
    for _ in 0..10 {
        assert_eq!(connect_from([127, 0, 0, 1], daemon.address()).rest(), "");
    }
    for source in [[127, 0, 0, 2], [127, 1, 2, 3]] {
        let mut peer = connect_from(source, daemon.address());
        assert_eq!(peer.ask("2\n"), "PAR\n");
    }
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "not_allowed")]), 10);
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "overload")]), 0);
    assert_eq!(metrics.count("servidor_connections_total", &[]), 2);
}

#[test]
fn all_of_loopback_is_served_unless_set() {
    let daemon = start(&[]);
    assert_eq!(connect_from([127, 0, 0, 2], daemon.address()).ask("2\n"), "PAR\n");
    assert_eq!(connect_from([127, 255, 0, 9], daemon.address()).ask("7\n"), "ÍMPAR\n");
}

#[test]
fn ipv6_and_ipv4_are_served_side_by_side() {
    let daemon = start(&["--listen", "[::1]:0", "--listen", "127.0.0.1:0"]);
    wait_until("both listen", || daemon.lines_with("listening").len() == 2);
    let lines = daemon.lines_with("listening");
    let addresses = lines.iter().map(|line| line["address"].as_str().expect("text"));
    let addresses: Vec<SocketAddr> = addresses.map(|text| text.parse().expect("an address")).collect();
    assert!(addresses[0].is_ipv6() && addresses[1].is_ipv4(), "{addresses:?}");
    for address in addresses {
        assert_eq!(Peer::connect(address).ask("2\n"), "PAR\n", "{address}");
    }
}

#[test]
fn ipv6_peers_outside_the_list_are_closed() {
    let daemon = start(&["--listen", "[::1]:0", "--allow", "127.0.0.0/8,2001:db8::/32"]);
    assert_eq!(Peer::connect(daemon.address()).rest(), "");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "not_allowed")]), 1);
}

#[test]
fn an_ipv6_wildcard_leaves_ipv4_to_others() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    // Were it bound to both families, the port would be in use.
    let daemon = start(&["--listen", &format!("[::]:{port}")]);
    assert_eq!(daemon.address().port(), port);
    assert_eq!(Peer::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).ask("2\n"), "PAR\n");
}

#[test]
fn an_ipv4_mapped_peer_counts_as_its_ipv4_address() {
    // The daemon never binds a socket for both families itself, so it is passed in.
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
    socket.set_only_v6(false).expect("a host with both families");
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).expect("a free port");
    socket.listen(16).expect("a bound socket");
    let daemon = start_inheriting(socket.into(), &["--allow", "127.0.0.2/32"]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.address().port()));
    assert_eq!(daemon.wait_for("listening")["inherited"], true);
    assert_eq!(connect_from([127, 0, 0, 1], address).rest(), "");
    assert_eq!(connect_from([127, 0, 0, 2], address).ask("2\n"), "PAR\n");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_connections_refused_total", &[("reason", "not_allowed")]), 1);
}
