//! The tables of the READMEs, compared with what a daemon itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::Metrics;

/// Both READMEs: each is compared on its own.
pub const READMES: [&str; 2] = ["README.md", "README.pt-BR.md"];

/// Labels whose values are not known in advance.
const OPEN_LABELS: [&str; 5] = ["server", "version", "revision", "le", "quantile"];

/// The rows under `<!-- marker -->` in a file at the root of the repository, without their heads; cells as they are.
pub fn table(file: &str, marker: &str) -> Vec<Vec<String>> {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, after) = text
        .split_once(&format!("<!-- {marker} -->\n"))
        .unwrap_or_else(|| panic!("{file} has no table marked {marker}"));
    let rows = after.lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// What stands between backquotes in a cell.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Panics unless a README's table has the settings of `--default-config`, in its order, with its defaults.
pub fn compare_settings(file: &str, daemon: &str, default_config: &str) {
    let told: Vec<(String, String)> = default_config
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once(" = "))
        .filter(|(name, _)| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()))
        .map(|(name, value)| (name.to_owned(), value.replace(['"', '[', ']'], "")))
        .collect();
    let written: Vec<(String, String)> = table(file, &format!("{daemon} settings"))
        .iter()
        .map(|row| (codes(&row[0]).join(" "), codes(&row[1]).join(" ")))
        .collect();
    for (written, told) in written.iter().zip(&told) {
        assert_eq!(written, told, "{file} (left) and {daemon} --default-config (right) differ");
    }
    assert_eq!(written.len(), told.len(), "{file} has as many settings as {daemon}: {told:?}");
}

/// Panics unless a README's tables have the metrics of a scrape, with their labels and those values of labels that
/// are known in advance.
pub fn compare_metrics(file: &str, daemon: &str, scrape: &Metrics) {
    let common = table(file, "common metrics").into_iter().map(|mut row| {
        row[0] = format!("`{daemon}_{}`", codes(&row[0]).join(" "));
        row
    });
    let rows: Vec<Vec<String>> =
        table(file, &format!("{daemon} metrics")).into_iter().chain(common).collect();
    let written: BTreeMap<&str, BTreeSet<&str>> =
        rows.iter().map(|row| (codes(&row[0])[0], codes(&row[1]).into_iter().collect())).collect();
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, labels) in scrape.series() {
        let is_histogram = |family: &&str| scrape.text.contains(&format!("# TYPE {family} histogram\n"));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family.filter(is_histogram).unwrap_or(name);
        if family.starts_with("process_") {
            continue;
        }
        let words = told.entry(family).or_default();
        for (label, value) in labels.iter().filter(|(label, _)| label != "le") {
            words.insert(label);
            if !OPEN_LABELS.contains(&label.as_str()) {
                words.insert(value);
            }
        }
    }
    for family in written.keys().chain(told.keys()) {
        let (written, told) = (written.get(family), told.get(family));
        assert_eq!(written, told, "{file} (left) and {daemon} (right) differ in the labels of {family}");
    }
}
