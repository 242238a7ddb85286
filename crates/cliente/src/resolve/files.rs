//! What resolv.conf and the hosts file say, read again when they change: resolv.conf(5), hosts(5).

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use rustix::system::uname;
use tokio::time::Instant;

/// The files are looked at no more often than this.
const LOOKED_AT: Duration = Duration::from_secs(1);
/// As in the C library: more name servers are not asked.
const MAX_SERVERS: usize = 3;

/// Both files.
#[derive(Debug)]
pub(super) struct Files {
    resolv_conf: Watched<ResolvConf>,
    hosts: Watched<Hosts>,
    looked: Option<Instant>,
}

/// A file, and what it said when it was last read.
#[derive(Debug)]
struct Watched<T> {
    path: PathBuf,
    stamp: Option<Stamp>,
    value: Arc<T>,
}

/// What changes when a file does: device, inode, size, and the time of the last change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// Who is asked for names, and how a short name is completed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<IpAddr>,
    search: Vec<Name>,
    ndots: usize,
}

/// The names of the hosts file, in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Files {
    pub(super) fn at(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self { resolv_conf: Watched::at(resolv_conf), hosts: Watched::at(hosts), looked: None }
    }

    /// Files that cannot be read, in place of which resolv.conf says `resolv_conf`.
    #[cfg(feature = "simulation")]
    pub(super) fn fixed(resolv_conf: &str) -> Self {
        let mut files =
            Self::at(PathBuf::from("/nonexistent/resolv.conf"), PathBuf::from("/nonexistent/hosts"));
        files.resolv_conf.value = Arc::new(ResolvConf::parse(resolv_conf.as_bytes()));
        files
    }

    /// What they say now, or said less than a second ago. A file that cannot be read says nothing.
    pub(super) fn read(&mut self) -> (Arc<ResolvConf>, Arc<Hosts>) {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now >= looked + LOOKED_AT) {
            self.looked = Some(now);
            self.resolv_conf.look(ResolvConf::parse);
            self.hosts.look(Hosts::parse);
        }
        (Arc::clone(&self.resolv_conf.value), Arc::clone(&self.hosts.value))
    }

    pub(super) fn resolv_conf(&self) -> &Path {
        &self.resolv_conf.path
    }
}

impl<T: Default> Watched<T> {
    fn at(path: PathBuf) -> Self {
        Self { path, stamp: None, value: Arc::default() }
    }

    fn look(&mut self, parse: impl Fn(&[u8]) -> T) {
        let stamp = fs::metadata(&self.path)
            .ok()
            .map(|file| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
        if stamp != self.stamp {
            self.value = Arc::new(fs::read(&self.path).map_or_else(|_| T::default(), |bytes| parse(&bytes)));
            self.stamp = stamp;
        }
    }
}

impl ResolvConf {
    /// Lines that are wrong are passed over, as the C library does.
    fn parse(bytes: &[u8]) -> Self {
        let (config, _) = resolv_conf::Config::parse_with_errors(bytes);
        let servers = config.nameservers.iter().take(MAX_SERVERS).map(IpAddr::from).collect();
        let mut search: Vec<String> = config.get_last_search_or_domain().cloned().collect();
        if search.is_empty() {
            search.extend(domain_of_this_host());
        }
        let search = search.iter().filter_map(|domain| Name::from_ascii(domain).ok()).collect();
        Self { servers, search, ndots: usize::try_from(config.ndots).unwrap_or(1) }
    }

    /// The full names that `name` may stand for, in the order in which they are asked for.
    pub(super) fn candidates(&self, name: &str) -> Vec<Name> {
        let Ok(name) = Name::from_ascii(name) else { return Vec::new() };
        if name.is_fqdn() {
            return vec![name];
        }
        let mut full = name.clone();
        full.set_fqdn(true);
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, full);
        names
    }
}

/// What follows the first dot of the host's name: where names are searched if resolv.conf says nothing else.
fn domain_of_this_host() -> Option<String> {
    let name = uname();
    let (_, domain) = name.nodename().to_str().ok()?.split_once('.')?;
    Some(domain.to_owned()).filter(|domain| !domain.is_empty())
}

impl Hosts {
    /// Lines that are wrong are passed over.
    fn parse(bytes: &[u8]) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in String::from_utf8_lossy(bytes).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else { continue };
            for name in words {
                let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Self(hosts)
    }

    /// The addresses of a name of this file, or of `localhost`, which name servers are not asked for: RFC 6761.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_localhost = || name == "localhost" || name.ends_with(".localhost");
        let loopback = || vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        self.0.get(&name).cloned().or_else(|| is_localhost().then(loopback))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn names(config: &str, name: &str) -> Vec<String> {
        let config = ResolvConf::parse(config.as_bytes());
        config.candidates(name).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn short_names_are_searched_first_and_long_ones_last() {
        let config = "nameserver 192.0.2.1\nsearch a.example b.example\n";
        assert_eq!(names(config, "web"), ["web.a.example.", "web.b.example.", "web."]);
        assert_eq!(names(config, "web.x"), ["web.x.", "web.x.a.example.", "web.x.b.example."]);
        assert_eq!(names(config, "web.x."), ["web.x."]);
        let more_dots = format!("{config}options ndots:2\n");
        assert_eq!(names(&more_dots, "web.x"), ["web.x.a.example.", "web.x.b.example.", "web.x."]);
        assert_eq!(names(config, &"a".repeat(64)), [""; 0]);
    }

    #[test]
    fn lines_that_are_wrong_are_passed_over() {
        let config =
            ResolvConf::parse(b"nameserver nowhere\nnonsense\nnameserver 192.0.2.1\nnameserver ::1\n");
        assert_eq!(config.servers, ["192.0.2.1".parse::<IpAddr>().unwrap(), Ipv6Addr::LOCALHOST.into()]);
        let hosts = Hosts::parse(b"nonsense x\n192.0.2.7 Web web.example # y\n2001:db8::7 web\n\xff z\n");
        let addresses: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(hosts.addresses("WEB."), Some(addresses));
        assert_eq!((hosts.addresses("x"), hosts.addresses("y"), hosts.addresses("z")), (None, None, None));
    }

    #[test]
    fn localhost_is_this_host_unless_the_file_says_otherwise() {
        let other: IpAddr = "127.0.0.9".parse().unwrap();
        assert_eq!(Hosts::parse(b"127.0.0.9 localhost\n").addresses("localhost"), Some(vec![other]));
        assert_eq!(Hosts::default().addresses("a.localhost").map(|addresses| addresses.len()), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_when_they_change_and_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let (conf, hosts) = (folder.path().join("resolv.conf"), folder.path().join("hosts"));
        let mut files = Files::at(conf.clone(), hosts.clone());
        let server = |files: &mut Files| files.read().0.servers.first().map(ToString::to_string);
        assert_eq!(server(&mut files), None);
        for text in ["192.0.2.1", "192.0.2.20"] {
            fs::write(&conf, format!("nameserver {text}\n")).unwrap();
            advance(LOOKED_AT).await;
            assert_eq!(server(&mut files).as_deref(), Some(text));
        }
        fs::write(folder.path().join("new"), "nameserver 192.0.2.30\n").unwrap();
        fs::rename(folder.path().join("new"), &conf).unwrap();
        fs::write(&hosts, "192.0.2.9 web\n").unwrap();
        assert_eq!(server(&mut files).as_deref(), Some("192.0.2.20"), "no second has passed");
        advance(LOOKED_AT).await;
        assert_eq!(server(&mut files).as_deref(), Some("192.0.2.30"));
        assert!(files.read().1.addresses("web").is_some());
        fs::remove_file(&conf).unwrap();
        advance(LOOKED_AT).await;
        assert_eq!(server(&mut files), None);
    }
}
