//! The HTTP side: the bytes of a client through to the response. Each response is whole and of a known kind, the same however the bytes
//! are cut, and a page or metrics go to those only who may read them, whatever name they asked by.
//!
//! The first byte of the input says who asks, and the second how the bytes are cut; the others are the request.
#![no_main]

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use daemon::http::server::{Access, Site, exchange};
use daemon::phase::Phase;
use daemon::settings::{HostNames, Value as _};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::join;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

const METRICS: &str = "metrics only for those who are allowed\n";
const PAGE: &str = "a page only for those who are allowed\n";
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Longer than any response here.
const PIPE: usize = 64 * 1024;

/// Who asks.
#[derive(Clone, Copy)]
struct Setup {
    is_allowed: bool,
    is_loopback: bool,
    has_names: bool,
    phase: Phase,
}

impl Setup {
    fn of(byte: u8) -> Self {
        Self {
            is_allowed: byte & 1 == 0,
            is_loopback: byte & 2 == 0,
            has_names: byte & 4 != 0,
            phase: [Phase::Ready, Phase::Starting, Phase::Stopping][usize::from(byte >> 3) % 3],
        }
    }

    fn site(self) -> Site {
        let names = HostNames::parse(if self.has_names { "canary.example" } else { "" });
        let names = names.expect("a name or none");
        Site {
            metrics: Box::new(|| METRICS.to_owned()),
            page: Box::new(|| PAGE.to_owned()),
            admits: Box::new(|_| true),
            hosts: Box::new(move || names.clone()),
            phase: watch::channel(self.phase).1,
        }
    }

    /// Whether the host that a request names is this one.
    fn is_ours(self, host: &str) -> bool {
        if !self.is_loopback && !self.has_names {
            return true;
        }
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.split(':').next().unwrap_or_default(),
        };
        if bare.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = bare.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name == *THIS_HOST || (self.has_names && name == "canary.example")
    }
}

static THIS_HOST: LazyLock<String> = LazyLock::new(|| {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().trim_end_matches('.').to_ascii_lowercase()
});

/// The response to these bytes, after which the client sends FIN; and whether the daemon has ended the connection by itself.
async fn ask(setup: Setup, bytes: &[u8], part: usize) -> Vec<u8> {
    let (mut client, server) = duplex(PIPE);
    let access = if setup.is_allowed { Access::Full } else { Access::Health };
    let local = if setup.is_loopback { Ipv4Addr::LOCALHOST.into() } else { ELSEWHERE };
    let serve = exchange(server, Arc::new(setup.site()), access, local, || {});
    let talk = async {
        for piece in bytes.chunks(part) {
            // Who has been answered is not read from any more.
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
        let mut response = Vec::new();
        client.read_to_end(&mut response).await.expect("a pipe");
        response
    };
    let exchange = async { join!(serve, talk).1 };
    timeout(Duration::from_secs(60), exchange).await.expect("it ends when the client has ended")
}

/// A response, taken apart.
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// One response, and nothing after it.
    fn parse(bytes: &[u8], is_head: bool) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head in UTF-8");
        let mut lines = head.split("\r\n");
        let status = lines.next().expect("a status line");
        let status = status.strip_prefix("HTTP/1.1 ").or_else(|| status.strip_prefix("HTTP/1.0 "));
        let status = status.expect("HTTP").split(' ').next().expect("a status");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = bytes[end + 4..].to_vec();
        let response = Self { status: status.parse().expect("a number"), headers, body };
        let length = response.header("content-length").map_or(0, |text| text.parse().expect("a length"));
        let expected = if is_head { 0 } else { length };
        assert_eq!(response.body.len(), expected, "a body as long as its head says");
        response
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    fn text(&self) -> Vec<u8> {
        if self.header("content-encoding").is_none() || self.body.is_empty() {
            return self.body.clone();
        }
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut text).expect("gzip");
        text
    }
}

/// The method and the target of the first request, and its hosts.
fn request(bytes: &[u8]) -> (String, String, Vec<String>) {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = text.trim_start_matches(['\r', '\n']);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let mut words = lines.next().unwrap_or_default().split(' ').filter(|word| !word.is_empty());
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let hosts = headers.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut hosts: Vec<String> = hosts.map(|(_, value)| value.trim_matches([' ', '\t']).to_owned()).collect();
    hosts.retain(|host| !host.is_empty());
    if !target.starts_with('/') && target != "*" {
        let behind = target.split_once("://").map_or(&target[..], |(_, behind)| behind);
        hosts.push(behind.split(['/', '?', '#']).next().unwrap_or_default().to_owned());
    }
    (method, target, hosts)
}

fn path(target: &str) -> &str {
    let path = match target.split_once("://") {
        _ if target.starts_with(['/', '*']) => target,
        Some((_, behind)) => match behind.find(['/', '?', '#']) {
            Some(begin) if behind[begin..].starts_with('/') => &behind[begin..],
            _ => "/",
        },
        None => "",
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Whether the reference can tell what is the name and what is the port.
fn is_plain(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, port)) => ("", port),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port =
        |port: &str| (1..=4).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    name.chars().all(|part| part.is_ascii_alphanumeric() || ".-".contains(part))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn check(setup: Setup, bytes: &[u8], response: &Response) {
    let (method, target, hosts) = request(bytes);
    let text = response.text();
    let is_secret = text == METRICS.as_bytes() || text == PAGE.as_bytes();
    assert!([200, 400, 403, 404, 405, 414, 421, 431, 503].contains(&response.status), "{}", response.status);
    if matches!(response.status, 400 | 414 | 431) {
        assert!(text.is_empty(), "what cannot be read has no answer but its status");
        return;
    }
    let is_ours = hosts.iter().all(|host| setup.is_ours(host));
    // What is no name at all is refused; what is not ours must be.
    if is_ours && response.status == 421 && !hosts.iter().all(|host| is_plain(host)) {
        return;
    }
    let path = path(&target);
    let known = ["/", "/metrics", "/-/healthy", "/-/ready"].contains(&path);
    let expected = match path {
        _ if !is_ours => 421,
        "/-/healthy" | "/-/ready" if !["GET", "HEAD"].contains(&&method[..]) => 405,
        "/-/healthy" => 200,
        "/-/ready" => {
            if setup.phase == Phase::Ready {
                200
            } else {
                503
            }
        }
        _ if !setup.is_allowed => 403,
        _ if !known => 404,
        _ if !["GET", "HEAD"].contains(&&method[..]) => 405,
        _ => 200,
    };
    assert_eq!(response.status, expected, "{method} {target} {hosts:?}");
    assert_eq!(is_secret, expected == 200 && matches!(path, "/" | "/metrics") && method == "GET");
    assert!(response.header("content-type").is_some_and(|kind| kind.ends_with("charset=utf-8")));
    if path == "/" && expected == 200 {
        assert!(response.header("content-security-policy").is_some(), "no page without its policy");
    }
}

/// Whether the head of a first request has come. HTTP/2 is not spoken, and not answered either.
fn is_whole(bytes: &[u8]) -> bool {
    let begins = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let bytes = &bytes[begins..];
    let ends = bytes.windows(3).any(|three| three.ends_with(b"\n\n") || three == b"\n\r\n");
    ends && !bytes.starts_with(b"PRI * HTTP/2.0")
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

/// What must not depend on the cut: not the time, nor whether what is no HTTP is refused in words.
fn essence(response: &[u8]) -> Vec<u8> {
    if response.starts_with(b"HTTP/1.1 400 ") {
        return Vec::new();
    }
    let lines = response.split(|&byte| byte == b'\n');
    lines.filter(|line| !line.starts_with(b"date: ")).collect::<Vec<_>>().join(&b'\n')
}

fuzz_target!(|input: &[u8]| {
    let [who, part, bytes @ ..] = input else { return };
    let setup = Setup::of(*who);
    let [whole, in_parts] = [PIPE, usize::from(*part) + 1]
        .map(|part| RUNTIME.with(|runtime| runtime.block_on(ask(setup, bytes, part))));
    assert_eq!(essence(&whole), essence(&in_parts), "in parts of {} bytes", u16::from(*part) + 1);
    if whole.is_empty() {
        assert!(!is_whole(bytes), "no response to a request");
        return;
    }
    let is_head = request(bytes).0 == "HEAD";
    check(setup, bytes, &Response::parse(&whole, is_head));
});
