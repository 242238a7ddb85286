//! Collects the values in the file, the variables and the flags, for each setting.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{SettingError, SettingErrors};
use super::file;
use super::near_miss::{NearMiss, near_misses};
use super::value::Value;
use super::{Common, Defaults, Implied, Section, Setting, Settings};

/// The parser's message for a duplicate key. It does not name the key.
const DUPLICATE: &str = "duplicate key";

/// The sources of the settings. They are kept for reloads.
#[derive(Clone, Debug)]
pub struct Source {
    program: &'static str,
    file: Option<PathBuf>,
    flags: ArgMatches,
    defaults: Defaults,
    /// Values that other flags imply.
    implied: Vec<Implied>,
    /// The settings that any source gave at the start.
    given: Vec<String>,
}

/// Where values come from, besides the command line.
pub struct Outside<'a> {
    /// The text of the settings file at a path.
    pub file: &'a dyn Fn(&Path) -> Result<String, String>,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Outside<'_> {
    /// The files and the environment of this process.
    pub(super) const THIS_PROCESS: Self = Self { file: &file::read, variable: &variable };
    /// The same, at a reload.
    const AGAIN: Self = Self { file: &file::read_again, variable: &variable };
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A value as it was written.
#[derive(Clone, Debug)]
struct Written {
    setting: String,
    /// The text, or why it cannot be parsed.
    text: Result<String, String>,
    place: String,
    order: Order,
}

/// The order of errors: those of the file by offset, then those of variables, then those of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    File(usize),
    Variable,
    Flag,
}

/// All values, the weakest source first, and the errors found so far.
#[derive(Debug)]
pub struct Given {
    written: Vec<Written>,
    defaults: Vec<(String, &'static str)>,
    errors: Vec<(Order, SettingError)>,
}

impl Source {
    /// The file that `flags` name, the variables of `program`, the flags, `defaults`, and the values that flags imply.
    pub(super) fn new(
        program: &'static str,
        flags: ArgMatches,
        defaults: Defaults,
        implied: Vec<Implied>,
    ) -> Self {
        let file = flags.get_one::<PathBuf>("config").cloned();
        Self { program, file, flags, defaults, implied, given: Vec::new() }
    }

    /// Reads and checks all settings at the start.
    ///
    /// # Errors
    ///
    /// All errors of all sources. A value is checked even if a stronger source overrides it.
    pub(super) fn read<S: Section>(&mut self, outside: &Outside<'_>) -> Result<Settings<S>, SettingErrors> {
        let given = self.collect(&Settings::<S>::schema(), outside);
        self.given = given.written.iter().map(|written| written.setting.clone()).collect();
        Self::check(given)
    }

    /// Reads and checks all settings again.
    ///
    /// # Errors
    ///
    /// As at the start. A file that cannot be read again is an error too.
    pub fn read_again<S: Section>(&self) -> Result<Settings<S>, SettingErrors> {
        Self::check(self.collect(&Settings::<S>::schema(), &Outside::AGAIN))
    }

    fn check<S: Section>(mut given: Given) -> Result<Settings<S>, SettingErrors> {
        let (own, common) = (S::read(&mut given), Common::read(&mut given));
        let mut errors = given.errors_in_order();
        if let (Some(own), Some(common), true) = (own, common, errors.is_empty()) {
            let contradictions = own.contradictions(&common).into_iter();
            errors.extend(contradictions.map(|problem| SettingError { place: String::new(), problem }));
            if errors.is_empty() {
                return Ok(Settings { own, common });
            }
        }
        Err(SettingErrors(errors))
    }

    /// Whether any source gave the setting `name` at the start.
    pub fn gives(&self, name: &str) -> bool {
        self.given.iter().any(|given| given == name)
    }

    /// The variables that were probably meant for a setting but have no effect.
    pub fn near_misses<S: Section>(&self) -> Vec<NearMiss> {
        near_misses(self.program, &Settings::<S>::schema())
    }

    fn collect(&self, schema: &[Setting], outside: &Outside<'_>) -> Given {
        let mut given = Given { written: Vec::new(), defaults: Vec::new(), errors: Vec::new() };
        for setting in schema {
            let default = self.defaults.iter().find(|(name, _)| *name == setting.name);
            given.defaults.push((setting.name.clone(), default.map_or(setting.default, |(_, value)| value)));
        }
        given.implied(self.implied.iter().filter(|implied| !implied.wins));
        if let Some(path) = &self.file {
            match (outside.file)(path) {
                Ok(text) => given.file(path, &text, schema),
                Err(problem) => {
                    given
                        .errors
                        .push((Order::File(0), SettingError { place: path.display().to_string(), problem }));
                }
            }
        }
        for setting in schema {
            let name = setting.variable(self.program);
            if let Some(value) = (outside.variable)(&name).filter(|value| !value.is_empty()) {
                given.variable(setting, &name, value);
            }
        }
        given.implied(self.implied.iter().filter(|implied| implied.wins));
        for setting in schema {
            if self.flags.value_source(&setting.name) == Some(ValueSource::CommandLine) {
                let values: Vec<&str> = self
                    .flags
                    .get_many::<String>(&setting.name)
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                let text = values.join(",");
                let place = format!("--{} {}", setting.name, if text.is_empty() { "''" } else { &text });
                given.written.push(Written {
                    setting: setting.name.clone(),
                    text: Ok(text),
                    place,
                    order: Order::Flag,
                });
            }
        }
        given
    }
}

impl Given {
    /// Parses all values of the setting with this field. The strongest source wins.
    pub fn take<T: Value>(&mut self, field: &str) -> Option<T> {
        let name = field.replace('_', "-");
        let (_, default) = self.defaults.iter().find(|(setting, _)| *setting == name)?;
        let mut value = T::parse_default(default).ok();
        for written in self.written.iter().filter(|written| written.setting == name) {
            match written.text.as_deref().map_err(Clone::clone).and_then(T::parse) {
                Ok(parsed) => value = Some(parsed),
                Err(problem) => {
                    value = None;
                    self.errors.push((written.order, SettingError { place: written.place.clone(), problem }));
                }
            }
        }
        value
    }

    fn implied<'a>(&mut self, all: impl Iterator<Item = &'a Implied>) {
        self.written.extend(all.map(|Implied { setting, value, .. }| Written {
            setting: (*setting).to_owned(),
            text: Ok(value.clone()),
            place: String::new(),
            order: Order::Flag,
        }));
    }

    fn variable(&mut self, setting: &Setting, name: &str, value: OsString) {
        let (text, shown) = match value.into_string() {
            Ok(text) => (Ok(text.clone()), text),
            Err(raw) => (Err("expected UTF-8 text".to_owned()), raw.to_string_lossy().into_owned()),
        };
        let place = format!("{name}={shown}");
        self.written.push(Written { setting: setting.name.clone(), text, place, order: Order::Variable });
    }

    fn file(&mut self, path: &Path, text: &str, schema: &[Setting]) {
        let place = |offset: usize| {
            let column = text[..offset].rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            format!("{}:{}:{column}", path.display(), line(text, offset))
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut stubs = false;
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let problem = if error.message() == DUPLICATE {
                given_twice(document.get_ref(), text, span.clone())
            } else {
                stubs = true;
                error.message().replace('\n', ", ")
            };
            self.errors.push((Order::File(span.start), SettingError { place: place(span.start), problem }));
        }
        for (key, value) in document.get_ref() {
            let name = key.get_ref().as_ref();
            let Some(setting) = schema.iter().find(|setting| setting.name == name) else {
                let offset = key.span().start;
                // The parser has already reported what it could not read as a key.
                if errors.iter().any(|error| error.span().is_some_and(|span| span.start == offset)) {
                    continue;
                }
                let problem = format!("unknown key `{name}`, {}", known(name, schema));
                self.errors.push((Order::File(offset), SettingError { place: place(offset), problem }));
                continue;
            };
            let offset = value.span().start;
            let shown = text[value.span()].split_whitespace().collect::<Vec<_>>().join(" ");
            self.written.push(Written {
                setting: setting.name.clone(),
                text: as_text(value.get_ref(), setting),
                place: format!("{}: {name} = {shown}", place(offset)),
                order: Order::File(offset),
            });
        }
        // A value that the parser rejects leaves a stub, whose own error would repeat the parser's.
        if stubs {
            self.written.clear();
        }
    }

    fn errors_in_order(mut self) -> Vec<SettingError> {
        self.errors.sort_by_key(|(order, _)| *order);
        self.errors.into_iter().map(|(_, error)| error).collect()
    }
}

/// The number of the line that contains `offset`.
fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The error for the duplicate key at `second`.
fn given_twice(document: &DeTable<'_>, text: &str, second: Range<usize>) -> String {
    let written = &text[second.clone()];
    // It may be quoted and contain escapes, so the parser has to read it.
    let alone = format!("{written} = 0");
    let (alone, _) = DeTable::parse_recoverable(&alone);
    let name = alone.get_ref().keys().next().map_or(written, |key| key.get_ref().as_ref());
    // After the head of a table, or inside one, it is a key of that table, though it may have the same name.
    let in_table =
        |value: &Spanned<DeValue<'_>>| value.get_ref().is_table() && value.span().start < second.start;
    let first = document
        .keys()
        .find(|key| key.get_ref() == name && key.span().start < second.start)
        .filter(|_| !document.values().any(in_table));
    let first = first
        .map_or_else(String::new, |key| format!("; the first is at line {}", line(text, key.span().start)));
    format!("{name}: given twice, expected once{first}")
}

fn known(name: &str, schema: &[Setting]) -> String {
    let close = schema
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(&name.replace('_', "-"), &setting.name), &setting.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match close {
        Some((_, close)) => format!("expected `{close}`?"),
        None => "expected one that --default-config shows".to_owned(),
    }
}

fn as_text(value: &DeValue<'_>, setting: &Setting) -> Result<String, String> {
    let scalar = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    let items: Option<Vec<String>> = match value {
        DeValue::Array(items) if setting.list => items.iter().map(|item| scalar(item.get_ref())).collect(),
        other => scalar(other).map(|text| vec![text]),
    };
    let list = if setting.list { "a list of texts, each " } else { "" };
    match items {
        Some(items) if items.is_empty() && !setting.may_be_empty => {
            Err(format!("expected at least one: {}", setting.expected))
        }
        Some(items) => Ok(items.join(",")),
        None => Err(format!("expected {list}{}, not {}", setting.expected, article(value.type_str()))),
    }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}
