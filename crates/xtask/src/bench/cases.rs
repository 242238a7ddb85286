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

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    Depth1,
    Depth16,
    Depth256,
    Fresh,
    ServerCloses,
    Start,
    Memory,
    WakeUps,
    AmongMany,
    AmongVeryMany,
}

impl Case {
    /// In the order in which a server just started is measured: memory first, before any is left over.
    pub(crate) const MEASURED: [Self; 10] = [
        Self::Start,
        Self::Memory,
        Self::Depth1,
        Self::Depth16,
        Self::Depth256,
        Self::Fresh,
        Self::ServerCloses,
        Self::AmongMany,
        Self::AmongVeryMany,
        Self::WakeUps,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Depth1 => "CPU per request, 50 connections",
            Self::Depth16 => "the same, 16 deep",
            Self::Depth256 => "the same, 256 deep",
            Self::Fresh => "CPU per connection of one request",
            Self::ServerCloses => "the same if the server closes first, of its own figure above",
            Self::Start => "start to first reply",
            Self::Memory => "resident per idle connection, of 5,000",
            Self::WakeUps => "wake-ups a second, idle",
            Self::AmongMany => "rate of 50 among 10,000 open, of their rate alone",
            Self::AmongVeryMany => "rate of 50 among 18,000 open, of their rate alone",
        }
    }

    /// The bare loop's figure in the table; that of others is a ratio to it, if the bare loop has more than nothing.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Depth1 | Self::Depth16 | Self::Depth256 | Self::Fresh => "ns",
            Self::Start => "ms",
            Self::Memory => "bytes",
            Self::WakeUps | Self::ServerCloses | Self::AmongMany | Self::AmongVeryMany => "",
        }
    }

    /// Whether it is told as a ratio to the bare loop's.
    pub(crate) fn is_ratio(self) -> bool {
        !self.unit().is_empty() && self != Self::Memory
    }

    /// Whether it can be measured of this contender: others never close first.
    pub(crate) fn applies_to(self, contender: &Contender) -> bool {
        self != Self::ServerCloses || contender.answers_unterminated
    }

    /// Measures `contender` by `server`, which has just been started, or measured otherwise.
    pub(crate) fn measure(
        self,
        bench: &Bench,
        contender: &Contender,
        server: &Server,
    ) -> anyhow::Result<f64> {
        let requests = |count: u32| count / bench.haste;
        match self {
            Self::Depth1 => cpu(bench, server, Shape::kept(ACTIVE, 1, requests(100_000))),
            Self::Depth16 => cpu(bench, server, Shape::kept(ACTIVE, 16, requests(1_600_000))),
            Self::Depth256 => cpu(bench, server, Shape::kept(ACTIVE, 256, requests(10_000_000))),
            Self::Fresh => connections(bench, server, "fresh", requests(8_000)),
            Self::ServerCloses => {
                let client_closes = connections(bench, server, "fresh", requests(8_000))?;
                Ok(connections(bench, server, "original", requests(8_000))? / client_closes)
            }
            Self::Memory => memory(bench, server),
            Self::WakeUps => {
                let second = Duration::from_secs(1);
                rest(second);
                let before = sleeps(server.id())?;
                rest(5 * second);
                Ok(f64::from(u32::try_from(sleeps(server.id())? - before)?) / 5.0)
            }
            Self::AmongMany => among(bench, server, MANY, requests(100_000)),
            Self::AmongVeryMany => among(bench, server, VERY_MANY, requests(100_000)),
            Self::Start => Ok(contender.time_to_start(&bench.folder)? * 1e3),
        }
    }
}

fn cpu(bench: &Bench, server: &Server, shape: Shape) -> anyhow::Result<f64> {
    Ok(Load::open(bench, server, shape)?.run(server)?.cpu_per_request)
}

/// Processor time per connection of one request.
fn connections(bench: &Bench, server: &Server, mode: &'static str, count: u32) -> anyhow::Result<f64> {
    await_room_for_connections()?;
    cpu(bench, server, Shape { mode, connections: ACTIVE, depth: 1, requests: count, rate: 8_000 })
}

/// The rate of the active connections while so many others are open, of their rate alone.
fn among(bench: &Bench, server: &Server, others: u32, requests: u32) -> anyhow::Result<f64> {
    let shape = Shape::kept(ACTIVE, 1, requests);
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
