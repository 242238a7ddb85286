//! Asks a daemon over HTTP, and reads the values in its metrics.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::str::FromStr;

use minreq::Method;

use crate::{DEADLINE, Peer, wait_until};

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// What follows the head.
    pub body: String,
}

/// One request on a new connection.
pub fn request(address: SocketAddr, method: &str, path: &str) -> Response {
    send(address, method, path).unwrap_or_else(|error| panic!("{method} http://{address}{path}: {error}"))
}

/// The body at `path`, without a panic if there is none. Another status than 200 is an error, too.
///
/// # Errors
///
/// Why there is no body.
pub fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let response = send(address, "GET", path).map_err(io::Error::other)?;
    if response.status == 200 {
        return Ok(response.body);
    }
    Err(io::Error::new(ErrorKind::InvalidData, format!("http://{address}{path}: {response:?}")))
}

fn send(address: SocketAddr, method: &str, path: &str) -> Result<Response, minreq::Error> {
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        other => Method::Custom(other.to_owned()),
    };
    let request = minreq::Request::new(method, format!("http://{address}{path}"));
    let request = request.with_header("Connection", "close").with_follow_redirects(false);
    let response = request.with_timeout(DEADLINE.as_secs()).send()?;
    let status_line = format!("http/1.1 {} {}", response.status_code, response.reason_phrase);
    let headers = response.headers.iter().map(|(name, value)| format!("\r\n{name}: {value}"));
    let head = status_line + &headers.collect::<String>();
    let body = response.as_str()?.to_owned();
    Ok(Response { status: response.status_code, head: head.to_ascii_lowercase(), body })
}

/// A request that no client would send: with this in the header `Host`, or without the header.
pub fn request_for(address: SocketAddr, host: Option<&str>, method: &str, path: &str) -> Response {
    let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
    let mut peer = Peer::connect(address);
    peer.send(format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    let text = peer.rest();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no complete head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Response {
        status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Reads `/metrics`.
pub fn scrape(address: SocketAddr) -> Metrics {
    let response = request(address, "GET", "/metrics");
    assert_eq!(response.status, 200, "{response:?}");
    Metrics::parse(response.body)
}

/// Reads `/metrics` until `condition` holds, and then once more.
///
/// What is counted at a FIN is counted a moment after the peer has seen it. The series of one scrape are not read at
/// one instant either: only the next scrape is sure to show all that came before what the condition saw.
pub fn scrape_until(address: SocketAddr, description: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
    wait_until(description, || condition(&scrape(address)));
    scrape(address)
}

/// One scrape.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// The exposition as it came.
    pub text: String,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: String,
}

impl Metrics {
    /// Reads the text format of Prometheus.
    pub fn parse(text: String) -> Self {
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: samples.map(Sample::parse).collect(), text }
    }

    /// The sum of all series of this name that have these labels, and maybe others. At least one must be there.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let is_wanted =
            |sample: &&Sample| sample.name == name && labels.iter().all(|label| sample.has(label));
        let values = self.samples.iter().filter(is_wanted).map(|sample| sample.value.parse::<u64>());
        let sum =
            values.map(|value| value.expect("a counter is a whole number")).reduce(|sum, value| sum + value);
        sum.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text))
    }

    /// The value of the series with exactly these labels, in any order.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.read(name, labels)
    }

    /// The same, where it must be a whole number.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.read(name, labels)
    }

    /// Every series: its name, its labels and their values.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&str, &[(String, String)])> {
        self.samples.iter().map(|sample| (sample.name.as_str(), sample.labels.as_slice()))
    }

    fn read<T: FromStr<Err: Display>>(&self, name: &str, labels: &[(&str, &str)]) -> T {
        let value = self.find(name, labels);
        let value = value.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text));
        value.parse().unwrap_or_else(|error| panic!("{name} {labels:?} is {value}: {error}"))
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let wanted = |sample: &&Sample| {
            let has_all = labels.iter().all(|label| sample.has(label));
            sample.name == name && sample.labels.len() == labels.len() && has_all
        };
        self.samples.iter().find(wanted).map(|sample| sample.value.as_str())
    }
}

impl Sample {
    fn has(&self, (name, value): &(&str, &str)) -> bool {
        self.labels.iter().any(|(found, its_value)| found == name && its_value == value)
    }

    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').trim_end_matches('"').split("\",");
        let pair =
            |label: &str| label.split_once("=\"").map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { name: name.to_owned(), labels: labels.filter_map(pair).collect(), value: value.to_owned() }
    }
}
