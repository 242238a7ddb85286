//! Targets from a file in Prometheus' file_sd format: `[{"targets": ["host:8888"], "labels": {"zone": "a"}}]`.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::settings::{InOneLine, Value, quoted, read_again};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::labels::{Labelled, Labels};
use super::target::Target;

/// The file that the settings name, if any, and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetFile {
    path: Option<PathBuf>,
    targets: Arc<[Labelled]>,
}

impl TargetFile {
    /// Where it is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it held when it was read last.
    pub fn targets(&self) -> &[Labelled] {
        &self.targets
    }

    /// The current content of the same file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn read_again(&self) -> Result<Self, String> {
        match &self.path {
            None => Ok(self.clone()),
            Some(path) => Ok(Self { path: Some(path.clone()), targets: read(path)? }),
        }
    }
}

impl Value for TargetFile {
    const EXPECTED: &'static str = "the path of a file with targets in JSON, as Prometheus' file_sd has them";

    fn parse(text: &str) -> Result<Self, String> {
        let path = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
        let targets = path.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Self { path, targets })
    }

    fn to_toml(&self) -> String {
        quoted(self.path.as_deref().and_then(Path::to_str).unwrap_or_default())
    }
}

fn read(path: &Path) -> Result<Arc<[Labelled]>, String> {
    let shown = path.display();
    let text = read_again(path).map_err(|problem| format!("{shown}: {problem}"))?;
    targets(&text).map_err(|problem| format!("{shown}:{problem}"))
}

/// The targets that `text` names.
///
/// # Errors
///
/// The first thing that is wrong, after its line and column.
pub fn targets(text: &str) -> Result<Arc<[Labelled]>, String> {
    let groups: Vec<Object<Group>> = serde_json::from_str(text).map_err(|error| {
        let (line, column, problem) = (error.line(), error.column(), error.to_string());
        // It may quote names that are in the text, with whatever is in them.
        let problem = problem.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&problem);
        format!("{line}:{column}: {}", InOneLine(problem))
    })?;
    let mut all = Vec::new();
    for Object(Group { targets, labels }) in groups {
        let labels = Arc::new(labels.unwrap_or_default().0);
        let labelled = |Name(target)| Labelled { target, labels: Arc::clone(&labels) };
        all.extend(targets.into_iter().map(labelled));
    }
    Ok(all.into())
}

/// What is an object, and no list of the same values in their order, which serde takes as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with targets and labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<Name>,
    labels: Option<GroupLabels>,
}

struct Name(Target);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(Target::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
                let target = <Target as Value>::parse(text);
                target.map(Name).map_err(|problem| E::custom(format!("{text:?}: {problem}")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[derive(Default)]
struct GroupLabels(Labels);

impl<'de> Deserialize<'de> for GroupLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = GroupLabels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of labels, whose values are texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GroupLabels, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                Labels::new(pairs).map(GroupLabels).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_groups_are_read_with_their_labels() {
        let text = r#"[{"targets": ["a:1", "[::1]:2"], "labels": {"zone": "x"}}, {"targets": ["b:1"]}, {"targets": []}]"#;
        let targets = targets(text).expect("in order");
        let shown: Vec<_> = targets.iter().map(|one| (one.target.as_str(), one.labels.to_string())).collect();
        let zone = "zone=\"x\"".to_owned();
        assert_eq!(shown, [("a:1", zone.clone()), ("[::1]:2", zone), ("b:1", String::new())]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_column() {
        for (text, problem) in [
            ("", "1:0: EOF while parsing a value"),
            ("[\n {\"targets\": [\"a:1\"],}\n]", "2:22: trailing comma"),
            ("{\"targets\": []}", "1:0: invalid type: map, expected a sequence"),
            ("[\n\n {}]", "3:3: missing field `targets`"),
            ("[{\"target\": []}]", "1:10: unknown field `target`, expected `targets` or `labels`"),
            ("[{\"targets\": [\n\"a:1\",\n\"nowhere\"]}]", "3:9: \"nowhere\": expected a host and a port"),
            ("[{\"targets\": [7]}]", "1:15: invalid type: integer `7`, expected a host and a port"),
            (r#"[{"targets": [], "labels": {"job": "x"}}]"#, "1:39: label \"job\": Prometheus sets it"),
            (r#"[{"targets": [], "labels": {"a": "x", "a": "y"}}]"#, "1:47: label \"a\" is given twice"),
            (
                r#"[{"targets": [], "labels": {"a": 7}}]"#,
                "1:34: invalid type: integer `7`, expected a string",
            ),
            ("[] []", "1:4: trailing characters"),
            // Found by fuzzing or while writing its targets.
            (
                r#"[[["a:1"], null]]"#,
                "1:1: invalid type: sequence, expected an object with targets and labels",
            ),
            ("[{\"a at line b\": 1}]", "1:15: unknown field `a at line b`, expected `targets` or `labels`"),
            ("[{\"a\\nb\": 1}]", "1:8: unknown field `a\\nb`, expected `targets` or `labels`"),
        ] {
            let told = targets(text).expect_err(text);
            assert!(told.starts_with(problem), "{text}: {told}");
        }
    }
}
