//! Sections of the README as roff, for the man pages.

use roff::{Inline, Roff, bold, roman};

use crate::readme::Block;

/// Adds a section, under a title of its own.
pub(super) fn section(page: &mut Roff, title: &str, blocks: &[Block]) {
    page.control("SH", [title.to_uppercase().as_str()]);
    for block in blocks {
        match block {
            Block::Heading(heading) => {
                page.control("SS", [heading.as_str()]);
            }
            Block::Paragraph(text) => {
                page.control("PP", []).text(inlines(text));
            }
            Block::Code(text) => code(page, text),
            Block::Table(rows) => {
                for row in rows {
                    let (first, rest) =
                        row.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
                    item(page, inlines(first), &rest.join("; "));
                }
            }
        }
    }
}

/// Adds one thing, and what there is to say of it.
pub(super) fn item(page: &mut Roff, tag: Vec<Inline>, text: &str) {
    page.control("TP", []).text(tag).text(inlines(text));
}

/// Adds lines as they are.
pub(super) fn code(page: &mut Roff, text: &str) {
    page.control("PP", []).control("RS", ["4"]).control("EX", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    // The end of a listing turns hyphenation on again.
    page.control("EE", []).control("RE", []).control("nh", []);
}

/// What stands in backticks is bold; of links the text is kept.
pub(super) fn inlines(markdown: &str) -> Vec<Inline> {
    let pieces = markdown.split('`').enumerate();
    pieces
        .filter(|(_, piece)| !piece.is_empty())
        .map(|(index, piece)| if index % 2 == 1 { bold(piece) } else { roman(without_links(piece)) })
        .collect()
}

fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (lead, label) = before.rsplit_once('[').unwrap_or((before, ""));
        plain.extend([lead, label]);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_block_has_its_place() {
        let blocks = [
            Block::Paragraph("See [here](x.md), or `y`.".to_owned()),
            Block::Heading("Case".to_owned()),
            Block::Code("# /etc/x\n.y\n".to_owned()),
            Block::Table(vec![vec!["`0`".to_owned(), "well".to_owned()]]),
        ];
        let mut page = Roff::new();
        section(&mut page, "Title", &blocks);
        let expected = ".SH TITLE\n.PP\nSee here, or \\fBy\\fR.\n.SS Case\n.PP\n.RS 4\n.EX\n# /etc/x\n\\&.y\n.EE\n.RE\n.nh\n\
                        .TP\n\\fB0\\fR\nwell\n";
        assert_eq!(page.to_roff(), expected);
    }
}
