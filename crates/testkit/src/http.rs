//! Just enough HTTP to read a daemon's metrics, and the values in them.

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;

use crate::{DEADLINE, wait_until};

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

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str) -> Response {
    request_for(address, Some(&address.to_string()), method, path)
}

/// The same, with this in the header `Host`, or without the header.
pub fn request_for(address: SocketAddr, host: Option<&str>, method: &str, path: &str) -> Response {
    let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the HTTP side accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    write!(stream, "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n")
        .expect("a request can be sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a response, then the end");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
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
    let samples = response.body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Metrics { samples: samples.map(Sample::parse).collect(), text: response.body.clone() }
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
    /// The value of the series with exactly these labels, in any order.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.parse(name, labels)
    }

    /// The same, where it must be a whole number.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.parse(name, labels)
    }

    /// Every series: its name, its labels and their values.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&str, &[(String, String)])> {
        self.samples.iter().map(|sample| (sample.name.as_str(), sample.labels.as_slice()))
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &str, labels: &[(&str, &str)]) -> T {
        let value = self.find(name, labels);
        let value = value.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text));
        value.parse().unwrap_or_else(|error| panic!("{name} {labels:?} is {value}: {error}"))
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let wanted = |sample: &&Sample| {
            let has =
                |&(key, value): &(&str, &str)| sample.labels.iter().any(|(k, v)| k == key && v == value);
            sample.name == name && sample.labels.len() == labels.len() && labels.iter().all(has)
        };
        self.samples.iter().find(wanted).map(|sample| sample.value.as_str())
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').trim_end_matches('"').split("\",");
        let pair =
            |label: &str| label.split_once("=\"").map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { name: name.to_owned(), labels: labels.filter_map(pair).collect(), value: value.to_owned() }
    }
}
