//! The server's part of the page for people: connections and numbers.

use daemon::http::page::{figures, shares};
use protocol::Class;

use crate::limit::ConnectionLimit;
use crate::metrics::Metrics;

pub(crate) fn of(metrics: &Metrics, limit: &ConnectionLimit) -> String {
    let (active, limit) = (limit.active(), limit.limit());
    let numbers = Class::ALL.map(|class| (class.as_str(), metrics.numbers(class)));
    let all: u64 = numbers.iter().map(|(_, count)| count).sum();
    let full = if active < limit { "" } else { " class=\"bad\"" };
    let figures = figures(&[
        ("connections now", format!("<span{full}>{active}</span> <small>of {limit}</small>")),
        ("connections so far", metrics.connections().to_string()),
        ("numbers", all.to_string()),
        ("rejected requests", metrics.rejected().to_string()),
    ]);
    format!("{figures}<section><h2>Numbers by class</h2>\n{}</section>\n", shares(&numbers))
}
