//! The target file against a slow reference: JSON read with all its pairs, then checked rule by rule, as the README has them. A fault has
//! its place, and is told in one line.
#![no_main]

use cliente::targets::file::targets;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// JSON with what a map would lose: the order of its pairs, and duplicates.
enum Json {
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    Null,
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("JSON")
            }

            fn visit_unit<E: Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Json::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Json::Object(pairs))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Each target with its labels as they are shown. `None` if anything is wrong.
fn reference(text: &str) -> Option<Vec<(String, String)>> {
    let Json::List(groups) = serde_json::from_str(text).ok()? else { return None };
    let mut all = Vec::new();
    for group in groups {
        let (targets, labels) = match group {
            Json::Object(pairs) => of_object(pairs)?,
            _ => return None,
        };
        let Json::List(targets) = targets else { return None };
        let labels = match labels {
            None | Some(Json::Null) => String::new(),
            Some(Json::Object(pairs)) => shown(pairs)?,
            Some(_) => return None,
        };
        for target in targets {
            let Json::Text(target) = target else { return None };
            is_target(&target).then(|| all.push((target, labels.clone())))?;
        }
    }
    Some(all)
}

/// Of the two fields, each at most once, and no other.
fn of_object(pairs: Vec<(String, Json)>) -> Option<(Json, Option<Json>)> {
    let (mut targets, mut labels) = (None, None);
    for (name, value) in pairs {
        let field = match &name[..] {
            "targets" => &mut targets,
            "labels" => &mut labels,
            _ => return None,
        };
        if field.replace(value).is_some() {
            return None;
        }
    }
    Some((targets?, labels))
}

fn shown(pairs: Vec<(String, Json)>) -> Option<String> {
    const TAKEN: [&str; 8] = ["server", "address", "reason", "class", "le", "quantile", "job", "instance"];
    let mut labels = std::collections::BTreeMap::new();
    for (name, value) in pairs {
        let Json::Text(value) = value else { return None };
        let is_word = name.chars().all(|part| part.is_ascii_alphanumeric() || part == '_');
        let begins_well = name.starts_with(|first: char| !first.is_ascii_digit()) && !name.starts_with("__");
        let is_short = name.len() <= 128 && value.len() <= 128;
        if !is_word || !begins_well || !is_short || TAKEN.contains(&&name[..]) {
            return None;
        }
        if labels.insert(name, value).is_some() {
            return None;
        }
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let shown: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    (shown.len() <= 8).then(|| shown.join(","))
}

fn is_target(text: &str) -> bool {
    let is_name = |text: &str| {
        let is_part = |part: char| part.is_ascii_alphanumeric() || ".-_".contains(part);
        !text.is_empty() && text.len() <= 253 && text.chars().all(is_part)
    };
    if let Some(service) = text.strip_prefix("srv:_") {
        return is_name(&format!("_{service}"));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.chars().all(|digit| digit.is_ascii_digit())
        && port.parse::<u64>().is_ok_and(|port| (1..=65535).contains(&port));
    let is_host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(None) => false,
        Some(Some(inner)) => match inner.split_once('%') {
            None => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            Some((address, zone)) => address.parse::<std::net::Ipv6Addr>().is_ok() && is_name(zone),
        },
        None => is_name(host),
    };
    is_port && is_host
}

/// Whether the place before the problem is in the text.
fn has_its_place(problem: &str, text: &str) -> bool {
    let mut parts = problem.splitn(3, ':');
    let (Some(line), Some(column)) = (parts.next(), parts.next()) else { return false };
    let (Ok(line), Ok(column)) = (line.parse::<usize>(), column.parse::<usize>()) else { return false };
    let lines: Vec<&str> = text.split('\n').collect();
    let length = line.checked_sub(1).and_then(|index| lines.get(index)).map(|line| line.len());
    length.is_some_and(|length| column <= length + 1) && parts.next().is_some_and(|problem| problem.len() > 1)
}

fuzz_target!(|text: &str| {
    let expected = reference(text);
    match targets(text) {
        Ok(targets) => {
            let found: Vec<_> =
                targets.iter().map(|one| (one.target.as_str().to_owned(), one.labels.to_string())).collect();
            assert_eq!(Some(found), expected);
        }
        Err(problem) => {
            assert_eq!(expected, None, "{problem}");
            assert!(has_its_place(&problem, text), "{problem}");
            assert!(!problem.contains(char::is_control), "{problem:?}");
        }
    }
});
