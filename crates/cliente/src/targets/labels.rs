//! The labels of a target: what its series bear beside its name.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::target::Target;

/// The most labels that a target has.
pub const MAX_LABELS: usize = 8;
/// The most bytes that a label's name or its value has.
const MAX_LENGTH: usize = 128;
/// Names that the series of this program have.
const OWN: [&str; 6] = ["server", "address", "reason", "class", "le", "quantile"];
/// Names that Prometheus gives to whatever it scrapes.
const OF_THE_SCRAPER: [&str; 2] = ["job", "instance"];

/// Names and values, ordered by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Labels of a target.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort();
        for pair in labels.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(format!("label {:?} is given twice", pair[0].0));
            }
        }
        if labels.len() > MAX_LABELS {
            return Err(format!("expected at most {MAX_LABELS} labels, not {}", labels.len()));
        }
        for (name, value) in &labels {
            check_name(name)?;
            if value.len() > MAX_LENGTH {
                return Err(format!("label {name:?}: expected a value of at most {MAX_LENGTH} bytes"));
            }
        }
        Ok(Self(labels))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty()
        || name.len() > MAX_LENGTH
        || !name.bytes().all(is_part)
        || name.as_bytes()[0].is_ascii_digit()
    {
        return Err(format!(
            "label {name:?}: expected a name of letters, digits and _, not beginning with a digit"
        ));
    }
    if name.starts_with("__") {
        return Err(format!("label {name:?}: names that begin with __ are Prometheus' own"));
    }
    if OWN.contains(&name) {
        return Err(format!("label {name:?}: cliente's own series have a label of this name"));
    }
    if OF_THE_SCRAPER.contains(&name) {
        return Err(format!("label {name:?}: Prometheus sets it for what it scrapes"));
    }
    Ok(())
}

/// As they stand between braces in the exposition format of Prometheus.
impl fmt::Display for Labels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(formatter, "{separator}{name}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => formatter.write_str("\\\\")?,
                    '"' => formatter.write_str("\\\"")?,
                    '\n' => formatter.write_str("\\n")?,
                    other => formatter.write_char(other)?,
                }
            }
            formatter.write_char('"')?;
        }
        Ok(())
    }
}

/// A target with the labels of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The server to probe.
    pub target: Target,
    /// The labels of its series besides its name.
    pub labels: Arc<Labels>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, String> {
        Labels::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn labels_are_shown_in_the_order_of_their_names_with_escapes() {
        let shown = labels(&[("zone", "a\"b\\c\nd"), ("Rack_2", "é")]).unwrap().to_string();
        assert_eq!(shown, "Rack_2=\"é\",zone=\"a\\\"b\\\\c\\nd\"");
        assert_eq!(Labels::default().to_string(), "");
    }

    #[test]
    fn names_that_clash_or_are_no_names_and_too_much_are_refused() {
        for name in ["server", "address", "reason", "class", "le", "quantile"] {
            assert!(labels(&[(name, "x")]).unwrap_err().contains("own series"), "{name}");
        }
        for name in ["job", "instance"] {
            assert!(labels(&[(name, "x")]).unwrap_err().contains("Prometheus sets it"), "{name}");
        }
        for name in ["", "1a", "a-b", "zoné", "a b"] {
            assert!(labels(&[(name, "x")]).unwrap_err().contains("expected a name"), "{name}");
        }
        assert!(labels(&[("__meta", "x")]).unwrap_err().contains("Prometheus' own"));
        assert!(labels(&[("zone", &"x".repeat(128))]).is_ok());
        assert!(labels(&[("zone", &"x".repeat(129))]).unwrap_err().contains("at most 128 bytes"));
        assert!(labels(&[("a", "x"), ("a", "y")]).unwrap_err().contains("twice"));
        let nine: Vec<String> = (0..9).map(|number| format!("l{number}")).collect();
        let nine: Vec<(&str, &str)> = nine.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(labels(&nine[..8]).is_ok());
        assert_eq!(labels(&nine), Err("expected at most 8 labels, not 9".to_owned()));
    }
}
