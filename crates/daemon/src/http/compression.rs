//! gzip for clients that ask for it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

/// Metrics are mostly names that repeat: a higher level takes longer than it saves on any network.
const LEVEL: Compression = Compression::new(1);

/// The response with this text, compressed if the client's `headers` ask for that.
pub(super) fn negotiated(
    headers: &HeaderMap,
    text: String,
    respond: impl FnOnce(Bytes) -> Response<Full<Bytes>>,
) -> Response<Full<Bytes>> {
    let compressed = accepts_gzip(headers).then(|| gzip(&text)).flatten();
    let is_compressed = compressed.is_some();
    let mut response = respond(compressed.unwrap_or_else(|| text.into_bytes()).into());
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_compressed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether `gzip` is named, without a weight of zero: RFC 9110, 12.5.3.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_gzip && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

fn gzip(text: &str) -> Option<Vec<u8>> {
    // Some tenth of it is left.
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), LEVEL);
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_name_it() {
        for (value, accepts) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("x-gzip", false),
            ("gzip;q=nonsense", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), accepts, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
