//! Just enough HTTP to read the daemons and Prometheus, and numbers in metrics.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The body at `path`, which must be there. HTTP/1.0, so that it comes in one piece.
pub(super) fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::Ok(answer)
    };
    let answer = exchange().with_context(|| format!("http://{address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "http://{address}{path}: {status}\n{body}");
    Ok(body.to_owned())
}

/// The sum of all series of a counter whose labels contain `label`.
pub(super) fn sum(metrics: &str, name: &str, label: &str) -> anyhow::Result<u64> {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let values: Vec<u64> = samples
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .map(|rest| Ok(rest.rsplit(' ').next().unwrap_or_default().parse()?))
        .collect::<anyhow::Result<_>>()?;
    ensure!(!values.is_empty(), "no {name} with {label:?} in the metrics");
    Ok(values.iter().sum())
}

/// Text as part of a query.
pub(super) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let metrics =
            "# HELP a A.\na_total{class=\"odd\"} 2\na_total{class=\"even\"} 3\na_total_more 9\nb 1\n";
        assert_eq!(sum(metrics, "a_total", "").unwrap(), 5);
        assert_eq!(sum(metrics, "a_total", "class=\"odd\"").unwrap(), 2);
        assert!(sum(metrics, "a", "").is_err());
    }

    #[test]
    fn what_a_query_cannot_hold_is_encoded() {
        assert_eq!(percent_encoded("up{a=\"é\"}"), "up%7Ba%3D%22%C3%A9%22%7D");
    }
}
