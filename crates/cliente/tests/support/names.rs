//! A network of a test's own, with a name server in it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use testkit::dns::Dns;
use testkit::{Daemon, Namespace};

use super::{CLIENTE, UNDISTURBED};

/// Long enough for answers to be used throughout a test.
pub(crate) const DAY: u32 = 86_400;

/// The network, and the name server that its `/etc/resolv.conf` names.
pub(crate) struct World {
    pub(crate) namespace: Namespace,
    pub(crate) dns: Dns,
}

impl World {
    /// None, if the test cannot have a network of its own.
    pub(crate) fn enter() -> Option<Self> {
        let namespace = Namespace::enter()?;
        namespace.write("resolv.conf", "nameserver 127.0.0.53\nsearch example\n");
        Some(Self { namespace, dns: Dns::at("127.0.0.53:53") })
    }

    /// Starts the daemon, whose rounds are not disturbed, however busy the machine is.
    pub(crate) fn daemon(&self, arguments: &[&str]) -> Daemon {
        self.namespace.start(CLIENTE, arguments, &[UNDISTURBED])
    }

    /// Runs it to its end, as [`World::daemon`] would start it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.namespace.command(CLIENTE, arguments).envs([UNDISTURBED]).output().expect("it starts")
    }
}

/// A server at `address` that lets nobody connect: its queue is full, so what comes is dropped.
pub(crate) fn silent(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let address: SocketAddr = address.parse().expect("an address");
    listener.bind(&address.into()).expect("a free port");
    listener.listen(0).expect("a bound socket");
    let address = listener.local_addr().expect("it is bound").as_socket().expect("an IP address");
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        queued.push(stream);
    }
    (listener.into(), queued)
}

/// The field `address` of a line.
pub(crate) fn address(line: &Value) -> &str {
    line["address"].as_str().unwrap_or_else(|| panic!("no address in {line}"))
}

/// Waits for a completed round that used `wanted`.
pub(crate) fn wait_for_round_at(daemon: &Daemon, wanted: &str) -> Value {
    let is_wanted = |line: &Value| line["message"] == "round completed" && line["address"] == wanted;
    daemon.wait_for_line(&format!("a round at {wanted}"), is_wanted)
}
