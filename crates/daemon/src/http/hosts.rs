//! Which host a request is meant for. A web page can make its own name resolve to this host's address (DNS rebinding), and a
//! browser on this host then lets the page read the answers.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

use crate::settings::HostNames;

/// Whether `request`, which came to the address `local`, is meant for this host.
///
/// On loopback it must name an address, `localhost`, the host's name, or one of `names`. On other addresses any name is
/// fine, unless there are `names`. A request without a host does not come from a browser.
pub(super) fn is_for_us<B>(request: &Request<B>, local: IpAddr, names: &HostNames) -> bool {
    if !local.to_canonical().is_loopback() && names.as_slice().is_empty() {
        return true;
    }
    let headers = request.headers().get_all(HOST).iter().map(hyper::header::HeaderValue::as_bytes);
    headers
        .filter(|host| !host.is_empty())
        .map(|host| Authority::try_from(host).ok())
        .chain(request.uri().authority().map(|authority| Some(authority.clone())))
        .all(|authority| authority.is_some_and(|authority| is_ours(authority.host(), names)))
}

fn is_ours(host: &str, names: &HostNames) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_same = |name: &str| host.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'));
    let own = rustix::system::uname();
    is_same("localhost")
        || own.nodename().to_str().is_ok_and(|own| !own.is_empty() && is_same(own))
        || names.as_slice().iter().any(|name| is_same(name))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::settings::Value as _;

    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn is_answered(host: &str, local: IpAddr, names: &str) -> bool {
        let request = Request::builder().uri("/metrics").header(HOST, host).body(()).unwrap();
        is_for_us(&request, local, &HostNames::parse(names).unwrap())
    }

    #[test]
    fn beyond_loopback_names_are_checked_only_if_some_are_set() {
        assert!(is_answered("pod-7.example:9888", ELSEWHERE, ""));
        assert!(is_answered("pod-7.example:9888", ELSEWHERE, "pod-7.example"));
        assert!(!is_answered("pod-8.example:9888", ELSEWHERE, "pod-7.example"));
        assert!(is_answered("192.0.2.1:9888", ELSEWHERE, "pod-7.example"));
    }

    #[test]
    fn every_form_of_loopback_is_recognised() {
        for local in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(!is_answered("attacker.example", local.parse().unwrap(), ""), "{local}");
            assert!(is_answered("localhost", local.parse().unwrap(), ""), "{local}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_answered() {
        let request = Request::builder().uri("/metrics").body(()).unwrap();
        assert!(is_for_us(&request, Ipv4Addr::LOCALHOST.into(), &HostNames::parse("").unwrap()));
    }
}
