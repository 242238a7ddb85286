//! Whether a request costs the same among many connections: from one to ten thousand, on one worker and two.

use std::fmt::{self, Display, Formatter};

use super::Bench;
use super::contender::{Contender, Workers};
use super::load::{Load, Shape};
use super::table::Spread;

const CONNECTIONS: [u32; 5] = [1, 10, 100, 1_000, 10_000];
const DEPTHS: [u32; 3] = [1, 16, 256];

/// One line of the plot, and a column of the table.
pub(crate) struct Series {
    pub(crate) name: String,
    /// Connections, and processor time per request in nanoseconds.
    pub(crate) points: Vec<(u32, Spread)>,
}

/// Processor time per request by connections, depth and workers.
pub(crate) struct Flatness(pub(crate) Vec<Series>);

/// Measures the bare loop, the first of `contenders`, and ours, the last.
pub(crate) fn measure(bench: &Bench, contenders: &[Contender]) -> anyhow::Result<Flatness> {
    let (Some(bare), Some(ours)) = (contenders.first(), contenders.last()) else {
        return Ok(Flatness(Vec::new()));
    };
    let runs = [
        (bare, Workers::OneProcessor, "bare"),
        (ours, Workers::OneProcessor, "1 worker"),
        (ours, Workers::Two, "2 workers"),
    ];
    let mut figures = vec![vec![Vec::new(); CONNECTIONS.len()]; runs.len() * DEPTHS.len()];
    for time in 1..=bench.times {
        println!("==> {time} of {}: flatness", bench.times);
        for (run, (contender, workers, _)) in runs.iter().enumerate() {
            let server = contender.start(&bench.folder, *workers)?;
            for (column, depth) in DEPTHS.into_iter().enumerate() {
                for (row, connections) in CONNECTIONS.into_iter().enumerate() {
                    // At least two batches on each connection.
                    let requests = (30_000 * depth.min(40)).max(2 * connections * depth);
                    let outcome = Load::open(bench, &server, Shape::kept(connections, depth, requests))?
                        .run(&server)?;
                    figures[run * DEPTHS.len() + column][row].push(outcome.cpu_per_request);
                }
            }
        }
    }
    let names = runs.iter().flat_map(|(_, _, name)| DEPTHS.map(|depth| format!("{name}, {depth} deep")));
    let series = names.zip(figures).map(|(name, rows)| {
        let points = CONNECTIONS
            .into_iter()
            .zip(rows)
            .filter_map(|(connections, figures)| Spread::of(figures).map(|spread| (connections, spread)));
        Series { name, points: points.collect() }
    });
    Ok(Flatness(series.collect()))
}

impl Display for Flatness {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|series| series.name.as_str()).collect();
        writeln!(formatter, "\nNanoseconds of processor time per request, median:\n")?;
        writeln!(formatter, "| connections | {} |", names.join(" | "))?;
        writeln!(formatter, "|---:|{}", "---:|".repeat(names.len()))?;
        for (row, connections) in CONNECTIONS.into_iter().enumerate() {
            let cells = self.0.iter().map(|series| {
                series
                    .points
                    .get(row)
                    .map_or_else(|| "–".to_owned(), |(_, spread)| format!("{:.0}", spread.median))
            });
            writeln!(formatter, "| {connections} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}
