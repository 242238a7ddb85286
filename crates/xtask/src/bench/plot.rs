//! The results as two plots in SVG, without a library.

use std::fmt::Write as _;

use super::cases::{CASES, Case};
use super::flatness::Flatness;
use super::table::Results;

const COLOURS: [&str; 5] = ["#9aa0a6", "#d1495b", "#edae49", "#66a182", "#00798c"];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 60.0;

/// Bars of ratios to the bare loop, with whiskers from least to greatest.
#[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
pub(crate) fn comparison(results: &Results) -> String {
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.is_plotted).collect();
    let greatest = cases.iter().flat_map(|case| {
        results.contenders.iter().filter_map(|name| results.ratio(case, name).map(|ratio| ratio.greatest))
    });
    let top = greatest.fold(1.5, f64::max);
    let y = |ratio: f64| HEIGHT - MARGIN - ratio / top * (HEIGHT - 2.0 * MARGIN);
    let group = (WIDTH - 2.0 * MARGIN) / cases.len() as f64;
    let bar = group * 0.8 / results.contenders.len() as f64;
    let mut svg = begin("Processor time, as a ratio to a bare epoll echo");
    for (case_index, case) in cases.into_iter().enumerate() {
        let left = MARGIN + group * (case_index as f64 + 0.1);
        for (index, name) in results.contenders.iter().enumerate() {
            let Some(ratio) = results.ratio(case, name) else { continue };
            let (x, height) = (left + bar * index as f64, y(0.0) - y(ratio.median));
            let colour = COLOURS[index % COLOURS.len()];
            svg += &rectangle(x, y(ratio.median), bar * 0.9, height, colour);
            svg += &line(x + bar * 0.45, y(ratio.least), x + bar * 0.45, y(ratio.greatest), "#333", "");
            svg += &text(x + bar * 0.45, y(ratio.greatest) - 4.0, "middle", &format!("{:.2}", ratio.median));
        }
        svg += &text(left + group * 0.4, HEIGHT - MARGIN + 18.0, "middle", case.name);
    }
    svg += &line(MARGIN, y(1.0), WIDTH - MARGIN, y(1.0), "#333", "4 3");
    legend(&mut svg, results.contenders.iter().copied().zip(COLOURS));
    svg + "</svg>\n"
}

/// Lines of processor time by connections, both axes logarithmic: one colour per server, one dash per depth.
pub(crate) fn flatness(flatness: &Flatness) -> String {
    const DASHES: [&str; 3] = ["", "6 3", "2 3"];
    let (decades, least) = (4.0, 10.0_f64);
    let x = |connections: u32| MARGIN + f64::from(connections).log10() / decades * (WIDTH - 2.0 * MARGIN);
    let y = |time: f64| HEIGHT - MARGIN - (time / least).log10() / decades * (HEIGHT - 2.0 * MARGIN);
    let mut svg = begin("Nanoseconds of processor time per request, by open connections");
    for decade in 0..=4 {
        let (connections, time) = (10_u32.pow(decade), least * 10_f64.powi(decade.cast_signed()));
        svg += &line(MARGIN, y(time), WIDTH - MARGIN, y(time), "#ddd", "");
        svg += &text(MARGIN - 6.0, y(time) + 4.0, "end", &format!("{time}"));
        svg += &text(x(connections), HEIGHT - MARGIN + 18.0, "middle", &connections.to_string());
    }
    for (index, series) in flatness.0.iter().enumerate() {
        let (colour, dash) = (COLOURS[index / DASHES.len() % COLOURS.len()], DASHES[index % DASHES.len()]);
        for pair in series.points.windows(2) {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            svg += &line(x(from), y(before.median), x(to), y(after.median), colour, dash);
        }
    }
    let per_server =
        flatness.0.iter().step_by(DASHES.len()).map(|series| series.name.trim_end_matches(", 1 deep"));
    legend(&mut svg, per_server.zip(COLOURS));
    svg += &text(WIDTH - MARGIN, HEIGHT - 8.0, "end", "solid: 1 deep; dashed: 16 deep; dotted: 256 deep");
    svg + "</svg>\n"
}

fn begin(title: &str) -> String {
    let frame = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    frame + &text(WIDTH / 2.0, 22.0, "middle", title)
}

fn legend<'a>(svg: &mut String, entries: impl Iterator<Item = (&'a str, &'static str)>) {
    let mut x = MARGIN;
    for (name, colour) in entries {
        *svg += &rectangle(x, 34.0, 10.0, 10.0, colour);
        *svg += &text(x + 14.0, 43.0, "start", name);
        x += 150.0;
    }
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, colour: &str) -> String {
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>\n"
    )
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, dash: &str) -> String {
    format!(
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
         stroke-dasharray=\"{dash}\"/>\n"
    )
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    let mut escaped = String::new();
    for letter in words.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            letter => escaped.push(letter),
        }
    }
    let mut element = String::new();
    let _ = writeln!(element, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{escaped}</text>");
    element
}
