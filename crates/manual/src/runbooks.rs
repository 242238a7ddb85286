//! The runbooks as a page of HTML, which the alerts link to.

use pulldown_cmark::html::push_html;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use testkit::docs::section;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Runbooks of servidor and cliente</title>
<style>
body { max-width: 50em; margin: 2em auto; padding: 0 1em; font-family: sans-serif; line-height: 1.5 }
:target { background: #ff8 }
th, td { text-align: left; vertical-align: top; padding: 0.2em 1em 0.2em 0 }
</style>
</head>
<body>
<h1>Runbooks</h1>
";

/// The README's section. Each alert is a heading, whose id is its name in lower case.
pub(crate) fn page() -> String {
    let section = section("README.md", "Runbooks");
    let mut events: Vec<Event> = Parser::new_ext(&section, Options::ENABLE_TABLES).collect();
    for index in 1..events.len() {
        if let (before, [Event::Text(alert), ..]) = events.split_at_mut(index)
            && let Some(Event::Start(Tag::Heading { level, id, .. })) = before.last_mut()
        {
            *level = HeadingLevel::H2;
            *id = Some(alert.to_lowercase().into());
        } else if let Event::End(TagEnd::Heading(level)) = &mut events[index] {
            *level = HeadingLevel::H2;
        }
    }
    let mut page = HEAD.to_owned();
    push_html(&mut page, events.into_iter());
    page + "</body>\n</html>\n"
}

#[cfg(test)]
mod tests {
    use testkit::docs;

    use super::*;

    #[test]
    fn every_alert_links_to_its_heading_in_the_page() {
        let page = page();
        let rules = docs::read("deploy/prometheus/rules/alerts.yml");
        let alerts: Vec<&str> =
            rules.lines().filter_map(|line| line.split_once("alert: ")).map(|(_, name)| name).collect();
        assert!(alerts.len() > 5);
        for alert in alerts {
            let id = alert.to_lowercase();
            assert!(page.contains(&format!("<h2 id=\"{id}\">{alert}</h2>")), "{alert}");
            assert!(rules.contains(&format!("runbooks.html\" }}}}#{id}'\n")), "{alert}");
        }
    }

    #[test]
    fn every_link_in_the_page_leads_somewhere_in_it() {
        let page = page();
        let links: Vec<&str> =
            page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!links.is_empty());
        for link in links {
            let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out of the page"));
            assert!(page.contains(&format!("id=\"{id}\"")), "{link}");
        }
    }
}
