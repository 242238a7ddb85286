//! Peers that make the service hold as much memory as they can.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

pub(super) const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8888);

/// The kernel raises it to its least, about 2 KiB: all further replies stay with the service.
const TINY: usize = 1;
/// Its window lets the service fill large packets.
const LARGE: usize = 64 * 1024;
/// How often a peer writes in one turn: the service may read as fast as it writes.
const MAX_WRITES: usize = 4;
/// A request of one byte, whose reply has 57.
const EMPTY: [u8; 16 * 1024] = [b'\n'; 16 * 1024];

pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) manner: Manner,
    /// How many turns each peer has.
    pub(super) turns: usize,
    /// Whether the peers half-close in the end, and new ones do the same, several times over.
    pub(super) leaves: bool,
    /// How many peers there are, if they are more than the service has room for. They are gone when a peer that behaves asks.
    pub(super) peers: Option<usize>,
}

/// Far more than the unit is for: most of them wait in the kernel's queue, or are not even there.
const TOO_MANY: usize = 16_000;

/// What a peer does in each turn.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Written at once.
    requests: &'static [u8],
    receive_buffer: usize,
    /// Whether it writes as often as it can.
    floods: bool,
    reads: bool,
}

const fn manner(requests: &'static [u8], receive_buffer: usize) -> Manner {
    Manner { requests, receive_buffer, floods: false, reads: false }
}

const fn attack(name: &'static str, manner: Manner, turns: usize) -> Attack {
    Attack { name, manner, turns, leaves: false, peers: None }
}

const fn leaving(name: &'static str, manner: Manner, turns: usize) -> Attack {
    Attack { leaves: true, ..attack(name, manner, turns) }
}

const fn too_many(name: &'static str, manner: Manner, turns: usize) -> Attack {
    Attack { peers: Some(TOO_MANY), ..attack(name, manner, turns) }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("idle", Manner { reads: true, ..manner(b"2\n", LARGE) }, 3),
    attack("ask for all, never read", Manner { floods: true, ..manner(&EMPTY, TINY) }, 3),
    attack("ask singly, never read", manner(EMPTY.split_at(1).0, TINY), 60),
    attack("ask for 1 KiB, never read", manner(EMPTY.split_at(18).0, TINY), 30),
    attack("ask for 4 KiB, never read, with a large window", manner(EMPTY.split_at(72).0, LARGE), 40),
    attack("flood, and read", Manner { floods: true, reads: true, ..manner(&EMPTY, LARGE) }, 2),
    leaving("half-close, never read, 10 times over", manner(EMPTY.split_at(100).0, TINY), 3),
    too_many("16,000 ask for 1 KiB, never read", manner(EMPTY.split_at(18).0, TINY), 30),
    too_many("16,000 ask for all, never read", Manner { floods: true, ..manner(&EMPTY, TINY) }, 3),
];

/// How many peers half-close, for each connection. At 13 KiB each, they would end the service if the kernel kept all of them.
const ORPHANS: usize = 10;

/// A peer that misbehaves.
struct Peer {
    stream: TcpStream,
    /// How much of its requests has been written.
    written: usize,
}

impl Peer {
    fn connect(manner: Manner) -> anyhow::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
        sockopt::set_socket_recv_buffer_size(&socket, manner.receive_buffer)?;
        match connect(&socket, &SERVER) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self { stream, written: 0 })
    }

    /// Does its worst for one turn. Returns whether the connection is still open.
    fn take_turn(&mut self, manner: Manner) -> bool {
        if manner.reads && !self.read_all() {
            return false;
        }
        let writes = if manner.floods { MAX_WRITES } else { 1 };
        for _ in 0..writes {
            match self.stream.write(&manner.requests[self.written..]) {
                Ok(count) => self.written = (self.written + count) % manner.requests.len(),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Reads what is there. Returns whether more may come.
    fn read_all(&mut self) -> bool {
        loop {
            match self.stream.read(&mut [0; 16 * 1024]) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

/// Peers that behave alike. One that is disconnected connects again.
pub(super) struct Peers {
    manner: Manner,
    peers: Vec<Peer>,
}

impl Peers {
    pub(super) fn connect(count: usize, manner: Manner) -> anyhow::Result<Self> {
        let peers = (0..count).map(|_| Peer::connect(manner)).collect::<anyhow::Result<_>>()?;
        Ok(Self { manner, peers })
    }

    /// Each has a turn.
    pub(super) fn take_turns(&mut self) -> anyhow::Result<()> {
        for peer in &mut self.peers {
            if !peer.take_turn(self.manner) {
                *peer = Peer::connect(self.manner)?;
            }
        }
        Ok(())
    }
}

/// Peers half-close and never read their replies; then others come and do the same.
pub(super) fn leave_orphans(mut peers: Peers, turns: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut left = Vec::new();
    let (count, manner) = (peers.peers.len(), peers.manner);
    for _ in 0..ORPHANS {
        for peer in peers.peers.drain(..) {
            // A service that has reset the connection has nothing left of it.
            let _ = peer.stream.shutdown(Shutdown::Write);
            left.push(peer.stream);
        }
        peers = Peers::connect(count, manner)?;
        for _ in 0..turns {
            peers.take_turns()?;
        }
    }
    Ok(left)
}
