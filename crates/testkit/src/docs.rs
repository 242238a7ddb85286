//! Reads the Markdown files of this repository, and compares the READMEs' tables with what a daemon reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::take;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::Metrics;

/// Both READMEs: each is compared on its own.
pub const READMES: [&str; 2] = ["README.md", "README.pt-BR.md"];

/// Labels whose values are not known in advance.
const OPEN_LABELS: [&str; 6] = ["server", "address", "version", "revision", "le", "quantile"];

/// What tests look for in a Markdown file.
#[derive(Debug, Default)]
pub struct Document {
    /// All headings, as plain text.
    pub headings: Vec<String>,
    /// All tables.
    pub tables: Vec<Table>,
    /// All code blocks.
    pub code_blocks: Vec<CodeBlock>,
    /// The targets of all links and images.
    pub links: Vec<String>,
}

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    /// The comment right before it.
    pub marker: String,
    /// Of each cell, its code spans; the head first.
    pub rows: Vec<Vec<Vec<String>>>,
}

/// A code block.
#[derive(Debug)]
pub struct CodeBlock {
    /// The heading that it is under.
    pub heading: String,
    /// Its lines.
    pub text: String,
}

/// A file that a README shows: a code block whose first line is a comment with the file's path.
#[derive(Debug)]
pub struct ShownFile {
    /// The heading that it is under.
    pub heading: String,
    /// Its absolute path.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Document {
    /// Reads a file at the root of the repository.
    pub fn read(file: &str) -> Self {
        Self::parse(&read(file))
    }

    fn parse(markdown: &str) -> Self {
        let mut document = Self::default();
        let (mut text, mut comment, mut cell) = (String::new(), String::new(), Vec::new());
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_)) => text.clear(),
                Event::End(TagEnd::Heading(_)) => document.headings.push(text.clone()),
                Event::End(TagEnd::CodeBlock) => {
                    let heading = document.headings.last().cloned().unwrap_or_default();
                    document.code_blocks.push(CodeBlock { heading, text: text.clone() });
                }
                Event::Html(html) => comment = html.trim().replace(['<', '!', '-', '>'], ""),
                Event::Start(Tag::Table(_)) => {
                    let marker = take(&mut comment).trim().to_owned();
                    document.tables.push(Table { marker, rows: Vec::new() });
                }
                Event::Start(Tag::TableHead | Tag::TableRow) => document.rows().push(Vec::new()),
                Event::Start(Tag::TableCell) => cell.clear(),
                Event::End(TagEnd::TableCell) => {
                    document.rows().last_mut().expect("a cell is in a row").push(take(&mut cell));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Text(more) => text.push_str(&more),
                Event::Code(code) => {
                    text.push_str(&code);
                    cell.push(code.into_string());
                }
                _ => {}
            }
        }
        document
    }

    /// The rows of the table that is being read.
    fn rows(&mut self) -> &mut Vec<Vec<Vec<String>>> {
        &mut self.tables.last_mut().expect("a row is in a table").rows
    }
}

/// The Markdown of one section, from below its heading to the next heading of its level.
pub fn section(file: &str, heading: &str) -> String {
    let text = read(file);
    let mut events = Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter();
    let is_heading =
        |event: &Event| matches!(event, Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }));
    let mut start = None;
    while let Some((event, range)) = events.next() {
        if !is_heading(&event) {
            continue;
        }
        if let Some(start) = start {
            return text[start..range.start].to_owned();
        }
        let Some((Event::Text(title), _)) = events.next() else { continue };
        start = (*title == *heading).then_some(range.end);
    }
    text[start.unwrap_or_else(|| panic!("{file} has no section {heading}"))..].to_owned()
}

/// The files that a section shows.
pub fn shown_files(file: &str, heading: &str) -> Vec<ShownFile> {
    let blocks = Document::parse(&section(file, heading)).code_blocks;
    let files = blocks.into_iter().filter_map(|CodeBlock { heading, text }| {
        let path = text.lines().next()?.strip_prefix("# ").filter(|path| path.starts_with('/'))?.to_owned();
        Some(ShownFile { heading, path, text })
    });
    files.collect()
}

/// A file at the root of the repository.
pub fn read(file: &str) -> String {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table under `<!-- marker -->`, without its head: the code spans of each cell.
fn table(file: &str, marker: &str) -> Vec<Vec<Vec<String>>> {
    let table = Document::read(file).tables.into_iter().find(|table| table.marker == marker);
    let table = table.unwrap_or_else(|| panic!("{file} has no table marked {marker}"));
    table.rows.into_iter().skip(1).collect()
}

/// Panics unless a README's table has the settings of `--default-config`, in its order, with its defaults.
pub fn compare_settings(file: &str, daemon: &str, default_config: &str) {
    let reported: Vec<(String, String)> = default_config
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once(" = "))
        .filter(|(name, _)| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()))
        .map(|(name, value)| (name.to_owned(), value.replace(['"', '[', ']'], "")))
        .collect();
    let written: Vec<(String, String)> = table(file, &format!("{daemon} settings"))
        .iter()
        .map(|row| (row[0].join(" "), row[1].join(" ")))
        .collect();
    for (written, reported) in written.iter().zip(&reported) {
        assert_eq!(written, reported, "{file} (left) and {daemon} --default-config (right) differ");
    }
    assert_eq!(written.len(), reported.len(), "{file} has as many settings as {daemon}: {reported:?}");
}

/// Panics unless a README's tables have the metrics of a scrape, with their labels and those values of labels that
/// are known in advance.
pub fn compare_metrics(file: &str, daemon: &str, scrape: &Metrics) {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table(file, &format!("{daemon} metrics")) {
        written.insert(row[0].join(" "), row[1].iter().cloned().collect());
    }
    for row in table(file, "common metrics") {
        written.insert(format!("{daemon}_{}", row[0].join(" ")), row[1].iter().cloned().collect());
    }
    let mut reported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in scrape.series() {
        let is = |family: &str, kind| scrape.text.contains(&format!("# TYPE {family} {kind}\n"));
        let has_parts = |family: &&str| is(family, "histogram") || is(family, "summary");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family.filter(has_parts).unwrap_or(name);
        if family.starts_with("process_") {
            continue;
        }
        let words = reported.entry(family.to_owned()).or_default();
        for (label, value) in labels.iter().filter(|(label, _)| label != "le") {
            words.insert(label.clone());
            if !OPEN_LABELS.contains(&label.as_str()) {
                words.insert(value.clone());
            }
        }
    }
    for family in written.keys().chain(reported.keys()) {
        let (written, reported) = (written.get(family), reported.get(family));
        assert_eq!(written, reported, "{file} (left) and {daemon} (right) differ in the labels of {family}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_by_its_parts() {
        let markdown = "# Title\n\n<!-- mark -->\n| `a` | b |\n|---|---|\n| `1` or `2` | 3 |\n\n`code` [link](x.md#y)\n\n\
                        ## Case `z`\n\n```ini\n# /etc/x\n[Y]\n```\n";
        let Document { headings, tables, code_blocks, links } = Document::parse(markdown);
        assert_eq!(headings, ["Title", "Case z"]);
        assert_eq!(links, ["x.md#y"]);
        assert_eq!(tables[0].marker, "mark");
        assert_eq!(tables[0].rows[0][0], ["a"]);
        assert_eq!(tables[0].rows[1][0], ["1", "2"]);
        assert_eq!(
            (code_blocks[0].heading.as_str(), code_blocks[0].text.as_str()),
            ("Case z", "# /etc/x\n[Y]\n")
        );
    }

    #[test]
    fn both_languages_show_the_same_files() {
        let files = |file| -> Vec<(String, String)> {
            shown_files(file, "systemd").into_iter().map(|file| (file.path, file.text)).collect()
        };
        let english = files("README.md");
        assert!(!english.is_empty());
        assert_eq!(files("README.pt-BR.md"), english);
    }
}
