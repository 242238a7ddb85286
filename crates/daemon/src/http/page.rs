//! The page at `/`, for people: the parts that both daemons share, and helpers for their own sections.
//!
//! The page loads no other file, so its policy allows only the style and the script of this folder.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::icon::Icon;
pub use super::icon::Level;
use crate::phase::Phase;
use crate::settings::{REVISION, VERSION};

const STYLE: &str = include_str!("page.css");
/// Fetches the page every two seconds, changes what differs, and shows a notice when there is no answer.
const SCRIPT: &str = include_str!("page.js");

/// The page's `Content-Security-Policy`. The hashes are those of page.css and page.js; a test compares them.
pub const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
    style-src 'sha256-+vBwI3o4yd7Ah6Y8j04WNAIwpmdWVSOnF23xHF5Jrh8='; \
    script-src 'sha256-SRIrEnTSgNO+PYAOtQVhDOmmDRb/i1dihDwfqvDsAwQ='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The content of the page.
pub struct Page<'a> {
    /// The daemon's name.
    pub name: &'a str,
    /// Where in its life it is.
    pub phase: Phase,
    /// The time since its start.
    pub uptime: Duration,
    /// The daemon's own sections.
    pub own: &'a Sections,
    /// The settings in force: names and values.
    pub settings: Vec<(String, String)>,
}

/// What is a daemon's own on the page.
#[derive(Debug, Default)]
pub struct Sections {
    /// What it has found, if that is more than its phase: for the top, the title and the icon.
    pub verdict: Option<(Level, String)>,
    /// Sections, in HTML.
    pub html: String,
}

impl From<String> for Sections {
    fn from(html: String) -> Self {
        Self { verdict: None, html }
    }
}

impl Page<'_> {
    fn level(&self) -> Level {
        match (self.phase, &self.own.verdict) {
            (Phase::Starting | Phase::Stopping, _) => Level::Unknown,
            (Phase::Ready, Some((level, _))) => *level,
            (Phase::Ready, None) => Level::Good,
        }
    }
}

impl Display for Page<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, phase, uptime, own, .. } = self;
        let (phase, uptime) = (format!("{phase:?}").to_lowercase(), Long(*uptime));
        let (level, html) = (self.level(), &own.html);
        let (class, icon, no_answer) = (level.class(), Icon(level), Icon(Level::Unknown));
        let state = match &own.verdict {
            Some((_, verdict)) if self.phase == Phase::Ready => verdict,
            _ => &phase,
        };
        let state = Escaped(state);
        write!(
            formatter,
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{state} – {name}</title>
<link rel="icon" href="{icon}" data-no-answer="{no_answer}">
<style>{STYLE}</style>
</head>
<body>
<p id="stale" role="status" hidden></p>
<noscript><p>Without scripts this page is as old as its last <a href="">reload</a>.</p></noscript>
<main>
<header><h1>{name}</h1><p class="state {class}">{state}</p><p>version {VERSION} ({REVISION}), {phase}, up for {uptime}</p></header>
{html}<section><h2>Settings in force</h2><dl class="settings">
"#
        )?;
        for (name, value) in &self.settings {
            writeln!(formatter, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(value))?;
        }
        write!(
            formatter,
            r#"</dl></section>
<footer><a href="metrics">metrics</a><a href="-/healthy">healthy</a><a href="-/ready">ready</a></footer>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"#
        )
    }
}

/// Figures side by side: a label, and a value in HTML, for each.
pub fn figures(figures: &[(&str, String)]) -> String {
    let mut html = String::from("<section><dl class=\"figures\">\n");
    for (label, value) in figures {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{value}</dd></div>", Escaped(label));
    }
    html + "</dl></section>\n"
}

/// A bar of up to three parts, with a legend of their labels and counts.
pub fn shares(parts: &[(&str, u64)]) -> String {
    const COLOURS: [&str; 3] = ["one", "two", "three"];
    let all: u64 = parts.iter().map(|(_, count)| count).sum();
    #[expect(clippy::cast_precision_loss, reason = "a length on a screen")]
    let percent = |count: u64| 100.0 * count as f64 / all.max(1) as f64;
    let (mut bar, mut key, mut sum) = (String::new(), String::new(), 0);
    for ((label, count), colour) in parts.iter().zip(COLOURS) {
        let (start, width) = (percent(sum), percent(*count));
        let _ = write!(bar, r#"<rect class="{colour}" x="{start:.2}%" width="{width:.2}%" height="100%"/>"#);
        let label = Escaped(label);
        let _ = write!(key, r#"<li><i class="{colour}">●</i> {label} <b>{count}</b> ({width:.0} %)</li>"#);
        sum += count;
    }
    format!("<svg class=\"shares\" aria-hidden=\"true\">{bar}</svg>\n<ul class=\"key\">{key}</ul>\n")
}

/// Text in which all characters that mean something in HTML are escaped.
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A duration in its two largest units.
struct Long(Duration);

impl Display for Long {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(formatter, "{seconds} s"),
            (0, 0, _) => write!(formatter, "{minutes} min {} s", seconds % 60),
            (0, _, _) => write!(formatter, "{hours} h {} min", minutes % 60),
            _ => write!(formatter, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_policy_allows_the_style_and_the_script_and_no_others() {
        let Some(python) = testkit::tool("python3") else { return };
        let program = "import base64, hashlib, sys\n\
            print('sha256-' + base64.b64encode(hashlib.sha256(sys.argv[1].encode()).digest()).decode())";
        for (directive, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let output = Command::new(&python).args(["-c", program, text]).output().unwrap();
            let hash = String::from_utf8(output.stdout).unwrap();
            let expected = format!("{directive} '{}';", hash.trim());
            assert!(POLICY.contains(&expected), "{expected} is not in {POLICY}");
        }
    }

    #[test]
    fn text_from_settings_is_escaped() {
        let page = Page {
            name: "servidor",
            phase: Phase::Ready,
            uptime: Duration::from_secs(61),
            own: &figures(&[("a < b", "1".to_owned())]).into(),
            settings: vec![("listen".to_owned(), "\"<script>alert('1')&\"".to_owned())],
        };
        let html = page.to_string();
        assert!(html.contains("<dd>&quot;&lt;script&gt;alert(&#39;1&#39;)&amp;&quot;</dd>"), "{html}");
        assert!(html.contains("<dt>a &lt; b</dt>"), "{html}");
        assert_eq!(html.matches("<script").count(), 1);
    }

    #[test]
    fn the_title_and_the_icon_say_what_the_daemon_has_found() {
        let html = |phase, verdict: Option<(Level, &str)>| {
            let verdict = verdict.map(|(level, text)| (level, text.to_owned()));
            let own = &Sections { verdict, html: String::new() };
            let page = Page { name: "cliente", phase, uptime: Duration::ZERO, own, settings: Vec::new() };
            page.to_string()
        };
        let failing = Some((Level::Bad, "2 of 50 failing: <b>"));
        for (phase, verdict, title, level) in [
            (Phase::Ready, None, "ready", Level::Good),
            (Phase::Ready, failing, "2 of 50 failing: &lt;b&gt;", Level::Bad),
            (Phase::Starting, failing, "starting", Level::Unknown),
            (Phase::Stopping, None, "stopping", Level::Unknown),
        ] {
            let html = html(phase, verdict);
            assert!(html.contains(&format!("<title>{title} – cliente</title>")), "{html}");
            assert!(html.contains(&format!(r#"<p class="state {}">{title}</p>"#, level.class())), "{html}");
            assert!(html.contains(&format!(r#"<link rel="icon" href="{}""#, Icon(level))), "{html}");
        }
    }

    #[test]
    fn shares_add_up_and_may_be_empty() {
        let html = shares(&[("large", 2), ("even", 1), ("odd", 1)]);
        assert!(html.contains(r#"<rect class="two" x="50.00%" width="25.00%" height="100%"/>"#), "{html}");
        assert!(html.contains("large <b>2</b> (50 %)"), "{html}");
        assert!(shares(&[("large", 0)]).contains("large <b>0</b> (0 %)"));
    }

    #[test]
    fn durations_have_two_units() {
        let table = [(5, "5 s"), (61, "1 min 1 s"), (7_380, "2 h 3 min"), (90_000, "1 d 1 h")];
        for (seconds, text) in table {
            assert_eq!(Long(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
