//! Finds the addresses of targets: by the hosts file, or by asking the name servers of resolv.conf.
//!
//! getaddrinfo(3) needs a thread for each name, which hangs as long as its name servers do, and it waits for the answers about both
//! families of addresses. So names that only NSS knows are not found here.

mod answers;
mod ask;
mod files;
mod look_up;
mod srv;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use thiserror::Error;

pub use self::answers::Answers;
use self::files::{Files, Hosts, ResolvConf};
pub use self::look_up::LookUp;
use crate::targets::target::Endpoint;

/// Where name servers listen.
const PORT: u16 = 53;

/// Which addresses are wanted, and for how long an answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The family that addresses must have.
    pub family: Family,
    /// The address of this host that they must be reached from.
    pub source: Option<IpAddr>,
    /// The longest time for which an answer is used, whatever its TTL says.
    pub max_age: Duration,
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// Why a name has no address.
#[derive(Debug, Error)]
pub enum Unresolved {
    /// resolv.conf is empty or absent.
    #[error("no name server in {0}")]
    NoServer(PathBuf),
    /// The name servers say so.
    #[error("no such name")]
    NoName,
    /// There is such a name, without addresses.
    #[error("it has no address")]
    NoAddress,
    /// What it has cannot be used.
    #[error("it has no {0} address, and no other may be used")]
    NoAddressOf(&'static str),
    /// The settings contradict each other.
    #[error("`source-address` is not of the family that `address-family` says")]
    NoFamily,
    /// The zone of a literal address is no interface of this host.
    #[error("no interface {0}")]
    NoInterface(String),
    /// A name server failed.
    #[error("name server {server}: {problem}")]
    Server {
        /// Which.
        server: IpAddr,
        /// What it says, or what became of the query.
        problem: String,
    },
}

impl Wanted {
    /// Everything.
    pub const ANY: Self = Self { family: Family::Any, source: None, max_age: Duration::from_secs(10) };

    /// Whether `address` is of a family that is wanted.
    pub(crate) fn includes(self, address: IpAddr) -> bool {
        let source_fits = self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        source_fits
            && match self.family {
                Family::Any => true,
                Family::Ipv4 => address.is_ipv4(),
                Family::Ipv6 => address.is_ipv6(),
            }
    }

    /// What is asked for.
    fn kinds(self) -> Vec<RecordType> {
        let kinds = [
            (RecordType::AAAA, IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
            (RecordType::A, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        ];
        kinds.into_iter().filter(|&(_, example)| self.includes(example)).map(|(kind, _)| kind).collect()
    }

    /// Why there is none, if there are no addresses of this kind.
    fn none(self) -> Unresolved {
        match self.kinds()[..] {
            [] => Unresolved::NoFamily,
            [RecordType::A] => Unresolved::NoAddressOf("IPv4"),
            [RecordType::AAAA] => Unresolved::NoAddressOf("IPv6"),
            _ => Unresolved::NoAddress,
        }
    }
}

/// Looks names up. Clones are one resolver, which reads its files again when they change.
#[derive(Clone, Debug)]
pub struct Resolver {
    files: Arc<Mutex<Files>>,
    port: u16,
}

/// What the files say, while a look-up lasts.
#[derive(Clone, Debug)]
struct Sources {
    resolv_conf: Arc<ResolvConf>,
    hosts: Arc<Hosts>,
    servers: Arc<[SocketAddr]>,
    path: PathBuf,
}

impl Resolver {
    /// That of this host. It is always there: without resolv.conf, names of the hosts file are found all the same.
    pub fn of_this_host() -> Self {
        #[cfg(feature = "simulation")]
        if let Some(resolv_conf) = crate::simulation::host::resolv_conf() {
            return Self { files: Arc::new(Mutex::new(Files::fixed(&resolv_conf))), port: PORT };
        }
        Self::with_files(Path::new("/etc/resolv.conf"), Path::new("/etc/hosts"), PORT)
    }

    /// One with other files, whose name servers listen at `port`.
    pub fn with_files(resolv_conf: &Path, hosts: &Path, port: u16) -> Self {
        let files = Files::at(resolv_conf.to_owned(), hosts.to_owned());
        Self { files: Arc::new(Mutex::new(files)), port }
    }

    /// Begins to look up `endpoint`; it goes on when what is returned is polled.
    pub fn look_up(&self, endpoint: &Endpoint, wanted: Wanted) -> LookUp {
        if wanted.kinds().is_empty() {
            return LookUp::failed(Unresolved::NoFamily, wanted);
        }
        match endpoint {
            Endpoint::Address(address) => LookUp::done(vec![*address], wanted),
            Endpoint::Zoned { address, zone, port } => LookUp::zoned(*address, zone, *port, wanted),
            Endpoint::Name { host, port } => LookUp::name(self.sources(), host, *port, wanted),
            Endpoint::Service(name) => LookUp::service(self.sources(), name, wanted),
        }
    }

    fn sources(&self) -> Sources {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (resolv_conf, hosts) = files.read();
        let servers = resolv_conf.servers.iter().map(|&server| SocketAddr::new(server, self.port)).collect();
        Sources { resolv_conf, hosts, servers, path: files.resolv_conf().to_owned() }
    }
}
