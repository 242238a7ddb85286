//! What is measured of every server, and how.

use std::time::Duration;

use super::Bench;
use super::contender::{Contender, Server};
use super::load::{Load, Shape};
use super::process::{await_room_for_connections, resident, rest, sleeps};

const ACTIVE: u32 = 50;
const IDLE: u32 = 5_000;
const MANY: u32 = 10_000;
/// This many files fit below a hard limit of 20,000.
const VERY_MANY: u32 = 18_000;
const SECOND: Duration = Duration::from_secs(1);

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The unit of the bare loop's figure.
    pub(crate) unit: &'static str,
    /// Whether the others are compared with the bare loop.
    pub(crate) is_ratio: bool,
    /// Whether it is about processor time, and so a group of bars in the plot.
    pub(crate) is_plotted: bool,
    /// Whether it needs a server that answers a request without a line end, and then closes.
    pub(crate) needs_unterminated: bool,
    /// Measures a server that has just been started, or measured otherwise.
    pub(crate) measure: fn(&Bench, &Contender, &Server) -> anyhow::Result<f64>,
}

const PLAIN: Case = Case {
    name: "",
    unit: "",
    is_ratio: false,
    is_plotted: false,
    needs_unterminated: false,
    measure: |_, _, _| Ok(0.0),
};
const CPU: Case = Case { unit: "ns", is_ratio: true, is_plotted: true, ..PLAIN };

/// In the order in which a server is measured: memory first, before any is left over.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "start to first reply",
        unit: "ms",
        is_ratio: true,
        measure: |bench, contender, _| Ok(contender.time_to_start(&bench.folder)? * 1e3),
        ..PLAIN
    },
    Case {
        name: "resident per idle connection, of 5,000",
        unit: "bytes",
        measure: |bench, _, server| memory(bench, server),
        ..PLAIN
    },
    Case {
        name: "CPU per request, 50 connections",
        measure: |bench, _, server| cpu(bench, server, Shape::kept(ACTIVE, 1, 100_000 / bench.haste)),
        ..CPU
    },
    Case {
        name: "the same, 16 deep",
        measure: |bench, _, server| cpu(bench, server, Shape::kept(ACTIVE, 16, 1_600_000 / bench.haste)),
        ..CPU
    },
    Case {
        name: "the same, 256 deep",
        measure: |bench, _, server| cpu(bench, server, Shape::kept(ACTIVE, 256, 10_000_000 / bench.haste)),
        ..CPU
    },
    Case {
        name: "CPU per connection of one request",
        measure: |bench, _, server| connections(bench, server, "fresh"),
        ..CPU
    },
    Case {
        name: "the same if the server closes first, of its own figure above",
        needs_unterminated: true,
        measure: |bench, _, server| {
            let client_closes = connections(bench, server, "fresh")?;
            Ok(connections(bench, server, "original")? / client_closes)
        },
        ..PLAIN
    },
    Case {
        name: "rate of 50 among 10,000 open, of their rate alone",
        measure: |bench, _, server| among(bench, server, MANY),
        ..PLAIN
    },
    Case {
        name: "rate of 50 among 18,000 open, of their rate alone",
        measure: |bench, _, server| among(bench, server, VERY_MANY),
        ..PLAIN
    },
    Case { name: WAKE_UPS, measure: |_, _, server| wake_ups(server), ..PLAIN },
];

/// What takes a while, and is left out of a quick run.
pub(crate) const WAKE_UPS: &str = "wake-ups per second, idle";

fn cpu(bench: &Bench, server: &Server, shape: Shape) -> anyhow::Result<f64> {
    Ok(Load::open(bench, server, shape)?.run(server)?.cpu_per_request)
}

/// Processor time per connection of one request.
fn connections(bench: &Bench, server: &Server, mode: &'static str) -> anyhow::Result<f64> {
    await_room_for_connections()?;
    let requests = 8_000 / bench.haste;
    cpu(bench, server, Shape { mode, connections: ACTIVE, depth: 1, requests, rate: 8_000 })
}

/// The rate of the active connections while many others are open, as a ratio to their rate alone.
fn among(bench: &Bench, server: &Server, others: u32) -> anyhow::Result<f64> {
    let shape = Shape::kept(ACTIVE, 1, 100_000 / bench.haste);
    let alone = Load::open(bench, server, shape)?.run(server)?;
    let _others = Load::open(bench, server, Shape::kept(others, 1, 0))?;
    let among_others = Load::open(bench, server, shape)?.run(server)?;
    Ok(among_others.requests_per_second / alone.requests_per_second)
}

/// What a connection adds that has had its reply, beyond what the first hundred left behind.
fn memory(bench: &Bench, server: &Server) -> anyhow::Result<f64> {
    drop(Load::open(bench, server, Shape::kept(100, 1, 0))?);
    let settled = Duration::from_millis(1500);
    rest(settled);
    let before = resident(server.id())?;
    let _idle = Load::open(bench, server, Shape::kept(IDLE, 1, 0))?;
    rest(settled);
    let more = resident(server.id())?.saturating_sub(before);
    Ok(f64::from(u32::try_from(more)?) / f64::from(IDLE))
}

fn wake_ups(server: &Server) -> anyhow::Result<f64> {
    rest(SECOND);
    let before = sleeps(server.id())?;
    rest(5 * SECOND);
    Ok(f64::from(u32::try_from(sleeps(server.id())? - before)?) / 5.0)
}
