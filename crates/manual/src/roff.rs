//! Renders Markdown as the source of a man page.

use std::mem::take;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Sections and their parts are headings of the second and the third level; a row of a table is a thing and what there is to
/// say about it; code is bold.
pub(crate) fn roff(markdown: &str) -> String {
    let mut page = Page::default();
    Parser::new_ext(markdown, Options::ENABLE_TABLES).for_each(|event| page.add(event));
    page.source
}

#[derive(Default)]
struct Page {
    source: String,
    /// The text of the block that has begun.
    text: String,
    /// How many cells of the row have ended; the head of a table is no row.
    cells: Option<usize>,
    in_listing: bool,
}

impl Page {
    fn add(&mut self, event: Event) {
        match event {
            Event::Start(Tag::Paragraph) => self.line(".PP"),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => self.heading(".SH", str::to_uppercase),
            Event::End(TagEnd::Heading(_)) => self.heading(".SS", str::to_owned),
            Event::Start(Tag::CodeBlock(_)) => {
                self.in_listing = true;
                self.line(".PP\n.RS 4\n.EX");
            }
            Event::End(TagEnd::CodeBlock) => {
                self.in_listing = false;
                // The end of a listing turns hyphenation on again.
                self.line(".EE\n.RE\n.nh");
            }
            Event::Start(Tag::TableHead) => self.cells = None,
            Event::End(TagEnd::TableHead) => self.text.clear(),
            Event::Start(Tag::TableRow) => {
                self.cells = Some(0);
                self.line(".TP");
            }
            Event::End(TagEnd::TableCell) => {
                let Some(cells) = &mut self.cells else { return };
                *cells += 1;
                if *cells > 2 {
                    self.line(".IP");
                }
                self.end_of_block();
            }
            Event::End(TagEnd::Paragraph) => self.end_of_block(),
            Event::Text(text) if self.in_listing => {
                for line in text.lines() {
                    self.text = escaped(line);
                    self.end_of_block();
                }
            }
            Event::Text(text) => self.text += &escaped(&text),
            Event::Code(code) => self.text.extend(["\\fB", &escaped(&code), "\\fR"]),
            Event::Start(Tag::Emphasis) => self.text += "\\fI",
            Event::End(TagEnd::Emphasis) => self.text += "\\fR",
            Event::SoftBreak => self.text.push(' '),
            Event::HardBreak => {
                self.end_of_block();
                self.line(".br");
            }
            _ => {}
        }
    }

    fn heading(&mut self, request: &str, change: impl Fn(&str) -> String) {
        let title = change(&take(&mut self.text));
        let quote = if title.contains(' ') { "\"" } else { "" };
        self.line(&format!("{request} {quote}{title}{quote}"));
    }

    /// Adds the text as one line.
    fn end_of_block(&mut self) {
        let text = take(&mut self.text);
        // It would be a request.
        let guard = if text.starts_with('.') { "\\&" } else { "" };
        self.line(&format!("{guard}{text}"));
    }

    fn line(&mut self, line: &str) {
        self.source += line;
        self.source.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\(rs").replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_block_is_rendered() {
        let markdown = "## See also\n\nSee [here](x.md),\nor `y-z` *N*.\\\nIt's\n\n### Case\n\n```\n# /etc/x\n.y\n```\n\n\
                        | a | b |\n|---|---|\n| `0` | well |\n| 1 | 2 | 3 |\n";
        let expected = ".SH \"SEE ALSO\"\n.PP\nSee here, or \\fBy\\-z\\fR \\fIN\\fR.\n.br\nIt\\(aqs\n.SS Case\n\
                        .PP\n.RS 4\n.EX\n# /etc/x\n\\&.y\n.EE\n.RE\n.nh\n.TP\n\\fB0\\fR\nwell\n.TP\n1\n2\n";
        assert_eq!(roff(markdown), expected);
        let wider = "| | | |\n|---|---|---|\n| 1 | 2 | 3 |\n";
        assert_eq!(roff(wider), ".TP\n1\n2\n.IP\n3\n");
    }
}
