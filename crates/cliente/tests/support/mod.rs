//! Servers whose every move a test decides.
#![allow(dead_code, reason = "each test file is a crate of its own, and uses what it needs")]

pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod servidor;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cliente::bench::Load;
use protocol::{Number, answer};
use serde_json::Value;
use testkit::{DEADLINE, Daemon, wait_until};

/// The daemon under test.
pub(crate) const CLIENTE: &str = env!("CARGO_BIN_EXE_cliente");

/// The variable without which a busy machine would disturb rounds.
pub(crate) const UNDISTURBED: (&str, &str) = ("CLIENTE_STALL_THRESHOLD", "1h");

/// Starts the daemon under test, whose rounds are not disturbed, however busy the machine is.
pub(crate) fn daemon(arguments: &[&str]) -> Daemon {
    Daemon::start_with(CLIENTE, arguments, &[UNDISTURBED])
}

/// Every reason for which a round can fail.
pub(crate) const REASONS: [&str; 10] = [
    "resolve",
    "refused",
    "unreachable",
    "connect_timeout",
    "reply_timeout",
    "reset",
    "closed",
    "wrong_reply",
    "server_error",
    "other",
];

/// A closed loop of 200 ms on one kept connection.
pub(crate) fn load(address: SocketAddr) -> Load {
    Load {
        address,
        connections: 1,
        pipeline: 1,
        rate: None,
        duration: Duration::from_millis(200),
        requests: None,
        warmup: Duration::ZERO,
        keep: true,
        threads: 1,
        connect_timeout: DEADLINE,
        reply_timeout: DEADLINE,
    }
}

/// Starts a server that hands its connections to `handle`, one after the other, each with its first request.
pub(crate) fn serve(handle: impl FnMut(Asked) + Send + 'static) -> SocketAddr {
    serve_at("127.0.0.1:0", handle)
}

/// The same, at `address`.
pub(crate) fn serve_at(address: &str, mut handle: impl FnMut(Asked) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that went away before it asked is none.
            if let Some(asked) = Asked::wait(stream.expect("a connection")) {
                handle(asked);
            }
        }
    });
    address
}

/// A server that gives the right reply to all requests of each connection.
pub(crate) fn honest() -> SocketAddr {
    honest_at("127.0.0.1:0")
}

/// The same, at `address`.
pub(crate) fn honest_at(address: &str) -> SocketAddr {
    serve_at(address, |asked| {
        let mut next = Some(asked);
        while let Some(mut asked) = next {
            let reply = asked.right();
            asked.say(&reply);
            next = asked.next();
        }
    })
}

/// A connection on which a number has come.
pub(crate) struct Asked {
    stream: BufReader<TcpStream>,
    number: Number,
}

impl Asked {
    /// Waits for the first request.
    pub(crate) fn wait(stream: TcpStream) -> Option<Self> {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("above zero");
        read_from(BufReader::new(stream))
    }

    /// Waits for the next request, or the client's end.
    pub(crate) fn next(self) -> Option<Self> {
        read_from(self.stream)
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> SocketAddr {
        self.stream.get_ref().peer_addr().expect("an open connection")
    }

    /// The number that was asked about.
    pub(crate) fn number(&self) -> String {
        self.number.to_string()
    }

    /// What it deserves, with the line's end.
    pub(crate) fn right(&self) -> Vec<u8> {
        [answer(&self.number), b"\n"].concat()
    }

    /// Sends `reply`.
    pub(crate) fn say(&mut self, reply: &[u8]) {
        self.stream.get_mut().write_all(reply).expect("the client is there");
    }

    /// Sends `reply`, if the client is still there.
    pub(crate) fn try_say(&mut self, reply: &[u8]) -> bool {
        self.stream.get_mut().write_all(reply).is_ok()
    }

    /// Waits for the client's FIN: a reset fails the test.
    pub(crate) fn wait_for_fin(&mut self) {
        assert_eq!(self.stream.read(&mut [0]).expect("FIN, not a reset"), 0);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("an open connection");
    }

    /// Breaks the connection.
    pub(crate) fn reset(self) {
        let linger = socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP socket");
    }
}

fn read_from(mut stream: BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let line = line.strip_suffix('\n').expect("a whole line");
    let number = Number::parse(line.as_bytes()).expect("a number");
    assert_eq!(number.as_str(), line, "a number is sent in its canonical form");
    Some(Asked { stream, number })
}

/// Waits until so many rounds have been completed, and returns them.
pub(crate) fn wait_for_rounds(daemon: &Daemon, count: usize) -> Vec<Value> {
    let mut rounds = Vec::new();
    wait_until("rounds are completed", || {
        rounds = daemon.lines_with("round completed");
        rounds.len() >= count
    });
    rounds
}

/// A server that hands each request to the test, which answers it when it likes.
pub(crate) fn held() -> (SocketAddr, Receiver<Asked>) {
    let (sender, asked) = channel();
    // A test that is over takes no more.
    let address = serve(move |asked| drop(sender.send(asked)));
    (address, asked)
}

/// The next request.
pub(crate) fn next(asked: &Receiver<Asked>) -> Asked {
    asked.recv_timeout(DEADLINE).expect("a request")
}
