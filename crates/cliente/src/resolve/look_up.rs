//! A look-up under way: what it has found, and what is still to come.

use std::fmt;
use std::future::{Future, ready};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use rustix::net::netdevice::name_to_index;
use tokio::select;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::answers::{Answers, Open};
use super::ask::{Records, ask};
use super::srv::in_order;
use super::{Sources, Unresolved, Wanted};
use crate::host;

/// How long IPv4 addresses wait for the answer about IPv6: RFC 8305, section 3.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Looks up a target, while it is polled.
pub struct LookUp {
    wanted: Wanted,
    work: Option<Work>,
    parts: UnboundedReceiver<Part>,
    answers: Answers,
    /// Addresses that have not been taken yet.
    untried: Vec<(usize, SocketAddr)>,
    /// Whether the address taken last was of IPv4: the families take turns, beginning with IPv6.
    took_ipv4: bool,
    problem: Option<Unresolved>,
}

type Work = Pin<Box<dyn Future<Output = Result<(), Unresolved>> + Send>>;

/// What has become known.
enum Part {
    /// The greatest number of hosts of a service that are used.
    Hosts { count: usize, ttl: Duration },
    /// The addresses of one family of a host, or that it has none.
    Addresses { host: usize, is_ipv4: bool, addresses: Vec<SocketAddr>, ttl: Duration },
}

/// A host that is looked up: its number among those of a service, and its port.
struct Host {
    number: usize,
    port: u16,
    parts: UnboundedSender<Part>,
}

/// What has come of the names that a name may stand for.
#[derive(Default)]
struct Search {
    /// The kinds of addresses that one of them has.
    told: Vec<RecordType>,
    /// The kinds about which the name servers failed.
    failed: Vec<RecordType>,
    problem: Option<Unresolved>,
    /// Whether there is such a name, be it without addresses.
    exists: bool,
}

impl LookUp {
    fn new(wanted: Wanted, work: impl FnOnce(UnboundedSender<Part>) -> Work) -> Self {
        let (sender, parts) = unbounded_channel();
        let mut open = Open::default();
        for kind in wanted.kinds() {
            *open.of(kind == RecordType::A) = 1;
        }
        let answers = Answers { addresses: Vec::new(), until: Instant::now() + wanted.max_age, open };
        Self {
            wanted,
            work: Some(work(sender)),
            parts,
            answers,
            untried: Vec::new(),
            took_ipv4: true,
            problem: None,
        }
    }

    /// One that has found `addresses`; only those that are wanted count.
    pub(super) fn done(addresses: Vec<SocketAddr>, wanted: Wanted) -> Self {
        let addresses = addresses.into_iter().map(|address| (0, address)).collect();
        let until = Instant::now() + wanted.max_age;
        Self::again(Answers { addresses, until, open: Open::default() }, wanted)
    }

    /// One that has found what is known already.
    pub(crate) fn again(mut answers: Answers, wanted: Wanted) -> Self {
        answers.addresses.retain(|(_, address)| wanted.includes(address.ip()));
        let mut look_up = Self::new(wanted, |_| Box::pin(ready(Ok(()))));
        look_up.work = None;
        look_up.untried.clone_from(&answers.addresses);
        look_up.answers = answers;
        look_up
    }

    pub(super) fn failed(problem: Unresolved, wanted: Wanted) -> Self {
        Self { problem: Some(problem), ..Self::done(Vec::new(), wanted) }
    }

    /// A literal address with a zone, which is the number or the name of an interface.
    pub(super) fn zoned(address: Ipv6Addr, zone: &str, port: u16, wanted: Wanted) -> Self {
        let index = zone.parse().ok().or_else(|| {
            let socket = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).ok()?;
            name_to_index(&socket, zone).ok()
        });
        match index {
            Some(index) => {
                Self::done(vec![std::net::SocketAddrV6::new(address, port, 0, index).into()], wanted)
            }
            None => Self::failed(Unresolved::NoInterface(zone.to_owned()), wanted),
        }
    }

    pub(super) fn name(sources: Sources, name: &str, port: u16, wanted: Wanted) -> Self {
        if let Some(addresses) = sources.hosts.addresses(name) {
            return Self::done(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(), wanted);
        }
        let names = sources.resolv_conf.candidates(name);
        Self::new(wanted, |parts| {
            let host = Host { number: 0, port, parts };
            Box::pin(async move { host.find(&sources, &names, wanted).await })
        })
    }

    pub(super) fn service(sources: Sources, name: &str, wanted: Wanted) -> Self {
        let names = sources.resolv_conf.candidates(name);
        Self::new(wanted, |parts| {
            Box::pin(async move { find_service(&sources, &names, wanted, &parts).await })
        })
    }

    /// Waits until there is an address to be tried: an IPv4 address waits a moment for the answer about IPv6, and one of a service's
    /// host for those of hosts that come before.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn first(&mut self) -> Result<(), Unresolved> {
        let mut until = None;
        while self.is_under_way() {
            if self.untried.iter().any(|(host, address)| *host == 0 && address.is_ipv6()) {
                break;
            }
            if self.untried.is_empty() {
                self.more().await;
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + RESOLUTION_DELAY);
            select! {
                biased;
                () = self.more() => {}
                () = sleep_until(until) => break,
            }
        }
        if self.untried.is_empty() {
            return Err(self.problem.take().unwrap_or_else(|| self.wanted.none()));
        }
        Ok(())
    }

    /// Waits until all is known.
    pub async fn all(&mut self) {
        while self.is_under_way() {
            self.more().await;
        }
    }

    /// Whether more may come.
    pub fn is_under_way(&self) -> bool {
        self.work.is_some()
    }

    /// Waits for the next part, or the end. Giving up the wait loses nothing.
    pub async fn more(&mut self) {
        let Some(work) = &mut self.work else { return };
        select! {
            biased;
            Some(part) = self.parts.recv() => self.take_in(part),
            ended = work => {
                self.work = None;
                self.problem = ended.err();
                while let Ok(part) = self.parts.try_recv() {
                    self.take_in(part);
                }
            }
        }
    }

    fn take_in(&mut self, part: Part) {
        match part {
            Part::Hosts { count, ttl } => {
                self.use_at_most(ttl);
                for kind in self.wanted.kinds() {
                    *self.answers.open.of(kind == RecordType::A) = count;
                }
            }
            Part::Addresses { host, is_ipv4, addresses, ttl } => {
                *self.answers.open.of(is_ipv4) -= 1;
                if !addresses.is_empty() {
                    self.use_at_most(ttl);
                }
                let found = addresses.into_iter().map(|address| (host, address));
                self.answers.addresses.extend(found.clone());
                self.untried.extend(found);
            }
        }
    }

    fn use_at_most(&mut self, ttl: Duration) {
        self.answers.until = self.answers.until.min(Instant::now() + ttl.min(self.wanted.max_age));
    }

    /// The address to be tried next, if one is known: the families take turns.
    pub fn next_address(&mut self) -> Option<SocketAddr> {
        let took_ipv4 = self.took_ipv4;
        let order =
            |&(_, &(host, address)): &(usize, &(usize, SocketAddr))| (host, address.is_ipv4() == took_ipv4);
        let (index, _) = self.untried.iter().enumerate().min_by_key(order)?;
        let (_, address) = self.untried.remove(index);
        self.took_ipv4 = address.is_ipv4();
        Some(address)
    }

    /// Whether there is an address to be tried.
    pub fn has_next(&self) -> bool {
        !self.untried.is_empty()
    }

    /// What is known so far.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }
}

impl fmt::Debug for LookUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LookUp").field("answers", &self.answers).finish_non_exhaustive()
    }
}

impl Host {
    /// Looks for the first of `names` that has addresses, and reports each family as soon as it is known.
    async fn find(&self, sources: &Sources, names: &[Name], wanted: Wanted) -> Result<(), Unresolved> {
        if sources.servers.is_empty() {
            return Err(Unresolved::NoServer(sources.path.clone()));
        }
        let mut search = Search::default();
        for name in names {
            self.find_one(sources, name, wanted, &mut search).await;
            if !search.told.is_empty() {
                break;
            }
        }
        for kind in wanted.kinds() {
            if !search.told.contains(&kind) && !search.failed.contains(&kind) {
                self.tell(kind, &Records::default());
            }
        }
        match search {
            Search { told, .. } if !told.is_empty() => Ok(()),
            Search { problem: Some(problem), .. } => Err(problem),
            Search { exists: true, .. } => Ok(()),
            Search { .. } => Err(Unresolved::NoName),
        }
    }

    /// Asks for the addresses of `name`, and reports them.
    async fn find_one(&self, sources: &Sources, name: &Name, wanted: Wanted, search: &mut Search) {
        let question = |kind| async move { (kind, ask(&sources.servers, name, kind).await) };
        let mut questions: FuturesUnordered<_> = wanted.kinds().into_iter().map(question).collect();
        while let Some((kind, records)) = questions.next().await {
            match records {
                Ok(records) => {
                    search.exists = true;
                    if !records.data.is_empty() {
                        search.told.push(kind);
                        self.tell(kind, &records);
                    }
                }
                // Then it has no address of the other family either.
                Err(Unresolved::NoName) => return,
                Err(error) => {
                    search.failed.push(kind);
                    search.problem.get_or_insert(error);
                }
            }
        }
    }

    fn tell(&self, kind: RecordType, records: &Records) {
        let addresses = records.data.iter().filter_map(RData::ip_addr);
        let addresses = addresses.map(|ip: IpAddr| SocketAddr::new(ip, self.port)).collect();
        let is_ipv4 = kind == RecordType::A;
        let part = Part::Addresses { host: self.number, is_ipv4, addresses, ttl: records.ttl };
        // Whoever gave up the look-up does not want to know.
        let _ = self.parts.send(part);
    }
}

/// Looks for the hosts of a service, and then for the addresses of all of them at once.
async fn find_service(
    sources: &Sources,
    names: &[Name],
    wanted: Wanted,
    parts: &UnboundedSender<Part>,
) -> Result<(), Unresolved> {
    if sources.servers.is_empty() {
        return Err(Unresolved::NoServer(sources.path.clone()));
    }
    let mut records = Err(Unresolved::NoName);
    for name in names {
        records = ask(&sources.servers, name, RecordType::SRV).await;
        if records.as_ref().is_ok_and(|records| !records.data.is_empty()) {
            break;
        }
    }
    if matches!(records, Err(Unresolved::NoName)) {
        let _ = parts.send(Part::Hosts { count: 0, ttl: wanted.max_age });
    }
    let records = records?;
    let services = records.data.iter().filter_map(|data| match data {
        RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
        _ => None,
    });
    let services = in_order(services.collect(), &mut host::rng());
    let _ = parts.send(Part::Hosts { count: services.len(), ttl: records.ttl });
    let mut hosts = FuturesUnordered::new();
    for (number, service) in services.into_iter().enumerate() {
        let host = Host { number, port: service.port, parts: parts.clone() };
        hosts.push(async move {
            let name = service.target.to_ascii();
            match sources.hosts.addresses(&name) {
                Some(addresses) => host.tell_all(&addresses, wanted),
                None => host.find(sources, &[service.target], wanted).await?,
            }
            Ok(())
        });
    }
    let mut problem = Ok(());
    while let Some(result) = hosts.next().await {
        problem = problem.and(result);
    }
    problem
}

impl Host {
    /// Tells of addresses of the hosts file.
    fn tell_all(&self, addresses: &[IpAddr], wanted: Wanted) {
        for kind in wanted.kinds() {
            let is_ipv4 = kind == RecordType::A;
            let data = addresses.iter().filter(|ip| ip.is_ipv4() == is_ipv4).map(|&ip| ip.into()).collect();
            self.tell(kind, &Records { data, ttl: wanted.max_age });
        }
    }
}
