//! Reads sections of the README, so that the man pages say the same, and the tests try what it shows.

use std::fs;

use anyhow::Context as _;

use crate::cargo::workspace;

/// A piece of a section, without its mark-up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Heading(String),
    Paragraph(String),
    Code(String),
    /// The rows of a table, without its head.
    Table(Vec<Vec<String>>),
}

/// A file that the README shows: a code block whose first line is a comment with the file's path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The heading of the sub-section it stands in.
    pub(crate) case: String,
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The blocks of one section of a Markdown file of the workspace.
pub(crate) fn section(file: &str, heading: &str) -> anyhow::Result<Vec<Block>> {
    section_text(file, heading).map(|text| blocks(&text))
}

/// One section of a Markdown file of the workspace, from its heading to the next of its rank.
pub(crate) fn section_text(file: &str, heading: &str) -> anyhow::Result<String> {
    let path = workspace().join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let start = format!("\n## {heading}\n");
    let (_, rest) = text.split_once(&start).with_context(|| format!("{file} has no section {heading}"))?;
    Ok(rest.split_once("\n## ").map_or(rest, |(body, _)| body).to_owned())
}

/// The files shown in a section.
pub(crate) fn shown_files(blocks: &[Block]) -> Vec<Shown> {
    let mut case = String::new();
    let mut files = Vec::new();
    for block in blocks {
        match block {
            Block::Heading(heading) => case.clone_from(heading),
            Block::Code(text) => {
                let path = text.lines().next().and_then(|line| line.strip_prefix("# /"));
                if let Some(path) = path {
                    files.push(Shown { case: case.clone(), path: format!("/{path}"), text: text.clone() });
                }
            }
            Block::Paragraph(_) | Block::Table(_) => {}
        }
    }
    files
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with("<!--") {
            continue;
        }
        if let Some(heading) = line.strip_prefix("### ") {
            blocks.push(Block::Heading(heading.to_owned()));
        } else if line.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push(Block::Code(code.join("\n") + "\n"));
        } else if line.starts_with('|') {
            let mut rows = Vec::new();
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                if !row.starts_with("|---") {
                    rows.push(row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
                }
            }
            blocks.push(Block::Table(rows));
        } else {
            let mut text = line.to_owned();
            while let Some(more) = lines.next_if(|line| !line.is_empty() && !line.starts_with("```")) {
                text.push(' ');
                text.push_str(more);
            }
            blocks.push(Block::Paragraph(text));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_falls_into_its_blocks() {
        let found =
            blocks("One\ntwo.\n\n### Case\n```ini\n# /etc/x\n[Y]\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n");
        let expected = [
            Block::Paragraph("One two.".to_owned()),
            Block::Heading("Case".to_owned()),
            Block::Code("# /etc/x\n[Y]\n".to_owned()),
            Block::Table(vec![vec!["1".to_owned(), "2".to_owned()]]),
        ];
        assert_eq!(found, expected);
        let file =
            Shown { case: "Case".to_owned(), path: "/etc/x".to_owned(), text: "# /etc/x\n[Y]\n".to_owned() };
        assert_eq!(shown_files(&found), [file]);
    }

    #[test]
    fn both_languages_show_the_same_files() {
        let texts = |file, heading| -> Vec<(String, String)> {
            let shown = shown_files(&section(file, heading).unwrap());
            shown.into_iter().map(|file| (file.path, file.text)).collect()
        };
        let english = texts("README.md", "systemd");
        assert!(!english.is_empty());
        assert_eq!(texts("README.pt-BR.md", "systemd"), english);
    }
}
