//! The HTTP side: every series from the start, exact counts, and an endpoint that stays reachable.

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use common::start;
use testkit::{Metrics, Peer, Signal, assert_promtool_is_silent, request, scrape, scrape_until, wait_until};

const COUNTERS: [(&str, &str, &[&str]); 4] = [
    ("servidor_connections_refused_total", "reason", &["overload", "not_allowed"]),
    (
        "servidor_connections_closed_total",
        "reason",
        &[
            "client",
            "unterminated",
            "idle",
            "slow_line",
            "slow_reader",
            "oversize",
            "io",
            "stopping",
            "forced",
            "panic",
        ],
    ),
    ("servidor_numbers_total", "class", &["large", "even", "odd"]),
    ("servidor_requests_rejected_total", "reason", &["empty", "invalid", "too_long"]),
];

const PLAIN_COUNTERS: [&str; 4] = [
    "servidor_connections_total",
    "servidor_accept_errors_total",
    "servidor_log_events_suppressed_total",
    "servidor_log_lines_dropped_total",
];

/// Asserts the value of every counter: what is not in `expected`, as `name label`, is 0.
fn assert_counters(metrics: &Metrics, expected: &[(&str, u64)]) {
    let value_of =
        |series: String| expected.iter().find(|(name, _)| *name == series).map_or(0, |found| found.1);
    for name in PLAIN_COUNTERS {
        assert_eq!(metrics.count(name, &[]), value_of(name.to_owned()), "{name}");
    }
    for (name, key, values) in COUNTERS {
        for value in values {
            let expected = value_of(format!("{name} {value}"));
            assert_eq!(metrics.count(name, &[(key, value)]), expected, "{name} {value}");
        }
    }
}

#[test]
fn every_series_is_there_before_the_first_request() {
    let daemon = start(&[]);
    let metrics = scrape(daemon.metrics_address());
    assert_counters(&metrics, &[]);
    assert_eq!(metrics.count("servidor_connections_active", &[]), 0);
    assert_eq!(metrics.count("servidor_connections_limit", &[]), 5);
    assert_eq!(metrics.count("servidor_service_seconds_count", &[]), 0);
    assert_eq!(metrics.count("servidor_config_last_reload_successful", &[]), 1);
    assert!(metrics.value("servidor_config_last_reload_success_timestamp_seconds", &[]) > 1.7e9);
    assert!(metrics.text.contains("\nservidor_build_info{"), "{}", metrics.text);
    for process in
        ["cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds", "threads"]
    {
        assert!(metrics.value(&format!("process_{process}"), &[]) > 0.0, "{process}");
    }
}

#[test]
fn service_times_have_twenty_buckets_from_one_microsecond() {
    let daemon = start(&[]);
    let metrics = scrape(daemon.metrics_address());
    let buckets = metrics.text.lines().filter_map(|line| {
        let bound = line.strip_prefix("servidor_service_seconds_bucket{le=\"")?.split('"').next()?;
        bound.parse::<f64>().ok()
    });
    let buckets: Vec<f64> = buckets.collect();
    assert_eq!(buckets.len(), 21, "twenty and +Inf: {buckets:?}");
    for (exponent, bound) in (0..20).zip(&buckets) {
        let expected = 1e-6 * 2_f64.powi(exponent);
        assert!((bound / expected - 1.0).abs() < 1e-9, "{bound} is not {expected}");
    }
    assert!(buckets[20].is_infinite());
}

#[test]
fn every_counter_is_exact_after_a_scripted_session() {
    let daemon = start(&["--allow", "127.0.0.0/8"]);
    let metrics_address = daemon.metrics_address();
    let mut lines = Peer::connect(daemon.address());
    for (request, reply) in
        [("2\n", "PAR\n"), ("4\r\n", "PAR\n"), ("7\n", "ÍMPAR\n"), ("12345678901\n", "12345678901\n")]
    {
        assert_eq!(lines.ask(request), reply);
    }
    for rejected in ["\n", "x\n", "y\n", "1234567890123456789012345678901\n"] {
        assert!(lines.ask(rejected).starts_with("ERRO "));
    }
    let mut bare = Peer::connect(daemon.address());
    bare.send("9");
    assert_eq!(bare.rest(), "ÍMPAR");
    let mut oversize = Peer::connect(daemon.address());
    oversize.send([b'1'; 65]);
    assert!(oversize.rest().starts_with("ERRO longo: "));

    let expected = [
        ("servidor_connections_total", 3),
        ("servidor_numbers_total even", 2),
        ("servidor_numbers_total odd", 2),
        ("servidor_numbers_total large", 1),
        ("servidor_requests_rejected_total empty", 1),
        ("servidor_requests_rejected_total invalid", 2),
        ("servidor_requests_rejected_total too_long", 2),
        ("servidor_connections_closed_total unterminated", 1),
        ("servidor_connections_closed_total oversize", 1),
    ];
    let active = |metrics: &Metrics| metrics.count("servidor_connections_active", &[]);
    let metrics = scrape_until(metrics_address, "two have left", |metrics| active(metrics) == 1);
    assert_counters(&metrics, &expected);
    // Each of these was a batch of its own.
    assert_eq!(metrics.count("servidor_service_seconds_count", &[]), 10);

    drop(lines);
    let metrics = scrape_until(metrics_address, "the last one has left", |metrics| active(metrics) == 0);
    let expected = [expected.as_slice(), &[("servidor_connections_closed_total client", 1)]].concat();
    assert_counters(&metrics, &expected);
}

#[test]
fn a_stopping_daemon_can_still_be_scraped_and_is_not_ready() {
    let daemon = start(&["--drain-timeout", "60s", "--write-timeout", "60s"]);
    let metrics = daemon.metrics_address();
    let ready = || request(metrics, "GET", "/-/ready").status;
    wait_until("it is ready", || ready() == 200);
    assert_eq!(request(metrics, "GET", "/-/healthy").status, 200);
    let _peer = Peer::clogged(daemon.address());
    daemon.signal(Signal::TERM);
    wait_until("it is no longer ready", || ready() == 503);
    assert_eq!(request(metrics, "GET", "/-/healthy").status, 200);
    assert_eq!(scrape(metrics).count("servidor_connections_active", &[]), 1);
}

#[test]
fn paths_and_methods_are_distinguished() {
    let daemon = start(&[]);
    let address = daemon.metrics_address();
    let metrics = request(address, "GET", "/metrics");
    assert!(metrics.head.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{}", metrics.head);
    let page = request(address, "GET", "/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("metrics</a>"), "{}", page.body);
    assert!(page.head.contains("\r\ncontent-type: text/html"), "{}", page.head);

    wait_until("it is ready", || request(address, "GET", "/-/ready").status == 200);
    for path in ["/", "/metrics", "/-/healthy", "/-/ready"] {
        let head = request(address, "HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = request(address, method, path);
            assert_eq!(refused.status, 405, "{method} {path}");
            assert!(refused.head.contains("\r\nallow: get, head"), "{method} {path}: {}", refused.head);
        }
    }
    for path in ["/metric", "/metrics/", "/-/", "/-/readyy", "//metrics"] {
        assert_eq!(request(address, "GET", path).status, 404, "{path}");
    }
    assert_eq!(request(address, "GET", "/metrics?name=up").status, 200, "a query changes nothing");
}

#[test]
fn incomplete_requests_do_not_block_the_endpoint() {
    let daemon = start(&[]);
    let address = daemon.metrics_address();
    let half_sent: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("the HTTP side listens");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").expect("a new connection takes some bytes");
            stream
        })
        .collect();
    assert_eq!(scrape(address).count("servidor_connections_total", &[]), 0);
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    drop(half_sent);
}

#[test]
fn an_incomplete_request_is_disconnected_before_a_complete_one_would_be() {
    let daemon = start(&[]);
    let mut peer = Peer::connect(daemon.metrics_address());
    let begun = Instant::now();
    peer.send("GET /metrics HTTP/1.1\r\nHost:");
    peer.rest();
    // Five seconds for the head, fifteen for all.
    assert!((4..13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn only_listed_peers_may_read() {
    let daemon = start(&["--metrics-allow", "127.0.0.2/32"]);
    let status = |source| {
        let mut peer = Peer::connect_from(source, daemon.metrics_address());
        peer.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        peer.rest().lines().next().map(str::to_owned)
    };
    assert_eq!(status(Ipv4Addr::LOCALHOST).as_deref(), Some("HTTP/1.1 403 Forbidden"));
    assert_eq!(status(Ipv4Addr::new(127, 0, 0, 2)).as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
}

#[test]
fn promtool_has_no_objections() {
    let daemon = start(&[]);
    assert_eq!(Peer::connect(daemon.address()).ask("2\n"), "PAR\n");
    assert_promtool_is_silent(&scrape(daemon.metrics_address()));
}
