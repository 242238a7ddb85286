//! The answers of name servers as the client takes them: a look-up through a real socket, whose other end sends what the input says.
//! Addresses are used only if an answer has them, for no longer than allowed, and questions are bounded.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use cliente::resolve::{Family, LookUp, Resolver, Unresolved, Wanted};
use cliente::targets::target::Target;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::select;
use tokio::time::{Instant, timeout};

const HEADER: usize = 12;
const PORT: u16 = 8888;
const MAX_AGE: Duration = Duration::from_secs(10);
/// Time for all questions that are sent again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Both families of 64 hosts, and what is asked before: each question is sent a few times.
const MOST_QUESTIONS: usize = (64 * 2 + 6) * 4;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

#[derive(Arbitrary, Debug)]
struct Input {
    family: u8,
    is_service: bool,
    /// Whether the name is tried in the search domain first.
    is_short: bool,
    /// The answers to questions, in the order of their first appearance.
    answers: Vec<Answer>,
}

#[derive(Arbitrary, Debug)]
enum Answer {
    /// None, or one too many.
    Lost,
    /// After the number and the question, if they are kept.
    Bytes {
        keeps_question: bool,
        bytes: Vec<u8>,
    },
    Records {
        code: u8,
        is_truncated: bool,
        records: Vec<Record>,
        change: Option<(u16, u8)>,
    },
}

#[derive(Arbitrary, Clone, Debug)]
enum Record {
    Ipv4([u8; 4], u32),
    Ipv6([u8; 16], u32),
    Service { priority: u16, weight: u16, port: u16, host: u8, ttl: u32 },
    Alias(u8),
    Other { kind: u16, class: u16, data: Vec<u8> },
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Self::Ipv4(..) => A,
            Self::Ipv6(..) => AAAA,
            Self::Service { .. } => SRV,
            Self::Alias(_) => 5,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Behind the question, whose name it bears.
    fn write(&self, message: &mut Vec<u8>) {
        let (class, ttl, data) = match self {
            Self::Ipv4(address, ttl) => (1, *ttl, address.to_vec()),
            Self::Ipv6(address, ttl) => (1, *ttl, address.to_vec()),
            Self::Service { priority, weight, port, host, ttl } => {
                let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
                (1, *ttl, [numbers, host_name(*host)].concat())
            }
            Self::Alias(host) => (1, 60, host_name(*host)),
            Self::Other { class, data, .. } => (*class, 60, data.clone()),
        };
        message.extend([0xc0, 12]);
        message.extend(self.kind().to_be_bytes());
        message.extend(class.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        message.extend(data);
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(address, _) => Some(Ipv4Addr::from(*address).into()),
            Self::Ipv6(address, _) => Some(Ipv6Addr::from(*address).into()),
            _ => None,
        }
    }
}

/// `hN.example.`; number 0 is the root, which means that there is no service.
fn host_name(number: u8) -> Vec<u8> {
    match number {
        0 => vec![0],
        _ => [&[3, b'h', b'0' + number % 10, b'0' + number / 10 % 10][..], b"\x07example\0"].concat(),
    }
}

/// What the server has seen and said.
#[derive(Default)]
struct Said {
    questions: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    asked: usize,
}

impl Said {
    /// The answer to a query, as the script has it for its question.
    fn answer(&mut self, query: &[u8], script: &[Answer]) -> Option<Vec<u8>> {
        self.asked += 1;
        let question = question(query);
        let known = self.questions.iter().position(|known| *known == question);
        let number = known.unwrap_or_else(|| {
            self.questions.push(question.clone());
            self.questions.len() - 1
        });
        let message = match script.get(number % script.len().max(1))? {
            Answer::Lost => return None,
            Answer::Bytes { keeps_question: true, bytes } => {
                [&query[..2], &[0x81, 0x80, 0, 1], bytes.get(..6).unwrap_or(&[0; 6]), &question, bytes]
                    .concat()
            }
            Answer::Bytes { bytes, .. } => [&query[..2], bytes].concat(),
            Answer::Records { code, is_truncated, records, change } => {
                let flags = [0x81 | u8::from(*is_truncated) << 1, 0x80 | code & 0x0f];
                let count = u16::try_from(records.len()).unwrap_or(u16::MAX).to_be_bytes();
                let mut message = [&query[..2], &flags, &[0, 1], &count, &[0; 4], &question].concat();
                records.iter().for_each(|record| record.write(&mut message));
                if let Some((at, byte)) = change {
                    let length = message.len();
                    message[usize::from(*at) % length] = *byte;
                }
                message
            }
        };
        self.answers.push(message.clone());
        Some(message)
    }

    fn has(&self, address: IpAddr) -> bool {
        let occurs = |bytes: &[u8]| {
            self.answers.iter().any(|answer| answer.windows(bytes.len()).any(|window| window == bytes))
        };
        match address {
            IpAddr::V4(address) => occurs(&address.octets()),
            IpAddr::V6(address) => occurs(&address.octets()),
        }
    }
}

/// The bytes of a query's question. Names come in any case.
fn question(query: &[u8]) -> Vec<u8> {
    let name = query[HEADER..].iter().position(|&byte| byte == 0).expect("the end of a name");
    query[HEADER..HEADER + name + 5].to_vec()
}

fn wanted(family: u8) -> Wanted {
    let family = [Family::Any, Family::Ipv4, Family::Ipv6][usize::from(family) % 3];
    Wanted { family, source: None, max_age: MAX_AGE }
}

/// What the answers of a plain script come to, whose records are all of the kind that was asked for. `None` if it is not that plain.
fn expected(input: &Input, said: &Said) -> Option<BTreeSet<SocketAddr>> {
    if input.is_service || input.is_short || input.answers.is_empty() {
        return None;
    }
    let mut all = BTreeSet::new();
    for (question, answer) in said.questions.iter().zip(input.answers.iter().cycle()) {
        let Answer::Records { code: 0, is_truncated: false, records, change: None } = answer else {
            return None;
        };
        let kind = u16::from_be_bytes(*question.last_chunk::<4>()?.first_chunk()?);
        // A long one is cut, and asked for again by TCP.
        let is_plain = |record: &Record| record.kind() == kind && record.address().is_some();
        if records.len() > 10 || !records.iter().all(is_plain) {
            return None;
        }
        let addresses = records.iter().filter_map(Record::address);
        all.extend(addresses.map(|address| SocketAddr::new(address, PORT)));
    }
    Some(all)
}

struct World {
    runtime: Runtime,
    server: UdpSocket,
    resolver: Resolver,
}

impl World {
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let server = runtime.block_on(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let port = server.local_addr().expect("it is bound").port();
        let folder = std::env::temp_dir().join(format!("fuzz-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let (conf, hosts) = (folder.join("resolv.conf"), folder.join("hosts"));
        std::fs::write(&conf, "nameserver 127.0.0.1\nsearch example\n").expect("a new folder");
        std::fs::write(&hosts, "192.0.2.99 h99.example\n").expect("a new folder");
        Self { runtime, server, resolver: Resolver::with_files(&conf, &hosts, port) }
    }

    async fn serve(&self, script: &[Answer], said: &mut Said) {
        let mut query = [0; 512];
        loop {
            let (length, peer) = self.server.recv_from(&mut query).await.expect("a socket");
            if let Some(answer) = said.answer(&query[..length], script) {
                // Who has gone needs none; what is too long for a datagram is lost.
                let _ = self.server.send_to(&answer, peer).await;
            }
        }
    }

    /// Questions of the run before, which nobody waits for any more.
    fn forget(&self) {
        while self.server.try_recv(&mut [0; 512]).is_ok() {}
    }
}

/// Whether there is an address, and then all of them.
async fn look_up(look_up: &mut LookUp) -> (Option<Result<(), Unresolved>>, Vec<SocketAddr>) {
    let first = timeout(PATIENCE, look_up.first()).await.ok();
    if first.as_ref().is_some_and(Result::is_ok) {
        assert!(look_up.has_next());
    }
    let ended = timeout(PATIENCE, look_up.all()).await.is_ok();
    assert_eq!(ended, !look_up.is_under_way());
    let mut addresses = Vec::new();
    while let Some(address) = look_up.next_address() {
        addresses.push(address);
    }
    if let Some(first) = &first {
        assert_eq!(first.is_ok(), !addresses.is_empty());
    }
    (first, addresses)
}

thread_local! {
    static WORLD: World = World::new();
}

fuzz_target!(|input: Input| {
    WORLD.with(|world| {
        let wanted = wanted(input.family);
        let target = match (input.is_service, input.is_short) {
            (true, _) => "srv:_canary._tcp.example.",
            (false, true) => "web:8888",
            (false, false) => "web.example.:8888",
        };
        let target: Target = target.parse().expect("a target");
        let mut said = Said::default();
        world.forget();
        world.runtime.block_on(async {
            let begun = Instant::now();
            let mut found = world.resolver.look_up(target.endpoint(), wanted);
            let (first, addresses) = select! {
                found = look_up(&mut found) => found,
                () = world.serve(&input.answers, &mut said) => unreachable!("it never ends"),
            };
            for address in &addresses {
                assert!(said.has(address.ip()) || input.is_service, "{address} comes from nowhere");
                assert!(input.is_service || address.port() == PORT);
                let is_wanted = match wanted.family {
                    Family::Any => true,
                    Family::Ipv4 => address.is_ipv4(),
                    Family::Ipv6 => address.is_ipv6(),
                };
                assert!(is_wanted, "{address} is of the wrong family");
                assert!(!found.answers().exclude(*address));
            }
            assert!(found.answers().until <= Instant::now() + MAX_AGE && found.answers().until >= begun);
            assert!(said.asked <= MOST_QUESTIONS, "{} questions", said.asked);
            if let Some(expected) = expected(&input, &said) {
                assert_eq!(addresses.iter().copied().collect::<BTreeSet<_>>(), expected);
                assert_eq!(first.is_some_and(|first| first.is_ok()), !expected.is_empty());
            }
        });
    });
});
