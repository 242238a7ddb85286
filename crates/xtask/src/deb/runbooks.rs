//! The runbooks as a page of HTML, for the links of the alerts.

use pulldown_cmark::{Options, Parser, html::push_html};

use crate::readme;

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

/// The README's section, each alert under its name in lower case.
pub(super) fn page() -> anyhow::Result<String> {
    let section = readme::section_text("README.md", "Runbooks")?;
    let lines = section.lines().map(|line| match line.strip_prefix("### ") {
        Some(alert) => format!("## {alert} {{#{}}}\n", alert.to_lowercase()),
        None => format!("{line}\n"),
    });
    let markdown: String = lines.collect();
    let mut page = HEAD.to_owned();
    push_html(
        &mut page,
        Parser::new_ext(&markdown, Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES),
    );
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cargo::workspace;

    #[test]
    fn every_alert_links_to_its_place_in_the_page() {
        let page = page().unwrap();
        let rules = fs::read_to_string(workspace().join("deploy/prometheus/rules/alerts.yml")).unwrap();
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
        let page = page().unwrap();
        let links: Vec<&str> =
            page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!links.is_empty());
        for link in links {
            let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out of the page"));
            assert!(page.contains(&format!("id=\"{id}\"")), "{link}");
        }
    }
}
