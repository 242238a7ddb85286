//! The settings file, the variables and the flags, of both daemons. What is accepted can be printed and read again, the stronger source
//! wins, and each fault has its place.
//!
//! The first byte of the input chooses the daemon; behind it are the text of the file, and variables and arguments, with a zero byte
//! before each.
#![no_main]

use std::ffi::OsString;
use std::path::Path;

use daemon::settings::{Outside, Program, Section, SettingErrors, Settings, effective_config, read};
use libfuzzer_sys::fuzz_target;

const PATH: &str = "settings.toml";

/// What an operator has written.
#[derive(Clone, Default)]
struct Written {
    file: String,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Written {
    fn parse(text: &str, program: &str) -> Self {
        let mut parts = text.split('\0').map(str::to_owned);
        let mut written = Self { file: parts.next().unwrap_or_default(), ..Self::default() };
        let prefix = format!("{}_", program.to_uppercase());
        for part in parts {
            match part.split_once('=') {
                Some((name, value)) if name.starts_with(&prefix) => {
                    written.variables.push((name.to_owned(), value.to_owned()));
                }
                _ => written.arguments.push(part),
            }
        }
        written
    }

    fn read<S: Section>(&self, program: &Program) -> Result<Settings<S>, SettingErrors> {
        let file = |path: &Path| {
            if path == Path::new(PATH) { Ok(self.file.clone()) } else { Err("not there".to_owned()) }
        };
        let variable = |name: &str| {
            let given = self.variables.iter().find(|(given, _)| given == name);
            given.map(|(_, value)| OsString::from(value))
        };
        let arguments = [program.name, "--config", PATH].map(str::to_owned).into_iter();
        let arguments = arguments.chain(self.arguments.iter().cloned()).map(OsString::from);
        read(program, arguments, &Outside { file: &file, variable: &variable })
    }
}

fn check<S: Section + std::fmt::Debug>(program: &Program, text: &str) {
    let written = Written::parse(text, program.name);
    match written.read::<S>(program) {
        Ok(settings) => {
            can_be_read_again(program, &settings);
            the_stronger_source_wins(program, &written, &settings);
        }
        Err(SettingErrors(errors)) => {
            for error in errors {
                assert!(!error.problem.is_empty(), "{error:?}");
                assert!(!error.to_string().contains(char::is_control), "{error:?}");
                if let Some(place) = error.place.strip_prefix(PATH) {
                    assert!(is_in(place, &written.file), "{error}");
                }
            }
        }
    }
}

/// What `--check-config` prints is a file that means the same.
fn can_be_read_again<S: Section + std::fmt::Debug>(program: &Program, settings: &Settings<S>) {
    let printed = effective_config(settings);
    let again = Written { file: printed.clone(), ..Written::default() }.read::<S>(program);
    match again {
        Ok(again) => assert_eq!(&again, settings, "{printed}"),
        Err(errors) => panic!("{errors}\n{printed}"),
    }
}

/// Flags win over variables, and variables over the file.
fn the_stronger_source_wins<S: Section>(program: &Program, written: &Written, settings: &Settings<S>) {
    let file = Written { file: written.file.clone(), ..Written::default() };
    let variables = Written { variables: written.variables.clone(), ..Written::default() };
    let flags = Written { arguments: written.arguments.clone(), ..Written::default() };
    // Alone they may contradict defaults, and flags that are no settings have values for settings.
    let [Ok(file), Ok(variables), Ok(flags)] = [file, variables, flags].map(|one| one.read::<S>(program))
    else {
        return;
    };
    if written.arguments.iter().any(|argument| !is_setting::<S>(argument)) {
        return;
    }
    let [file, variables, flags, all] = [&file, &variables, &flags, settings].map(Settings::values);
    for (index, setting) in Settings::<S>::schema().iter().enumerate() {
        let name = setting.variable(program.name);
        let has_flag = written.arguments.iter().any(|argument| is_flag(argument, &setting.name));
        let has_variable = written.variables.iter().any(|(given, value)| *given == name && !value.is_empty());
        let strongest = match (has_flag, has_variable) {
            (true, _) => &flags,
            (_, true) => &variables,
            _ => &file,
        };
        // With a target file, `target` has no default.
        if setting.name != "target" || strongest[index] != "[\"127.0.0.1:8888\"]" {
            assert_eq!(all[index], strongest[index], "{}", setting.name);
        }
    }
}

/// Whether an argument is `--NAME=VALUE` of a setting, which says by itself what it is.
fn is_setting<S: Section>(argument: &str) -> bool {
    Settings::<S>::schema().iter().any(|setting| is_flag(argument, &setting.name))
}

fn is_flag(argument: &str, name: &str) -> bool {
    let rest = argument.strip_prefix("--").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with('='))
}

/// Whether `:LINE:COLUMN` begins the place and is in the text. A file that cannot be read has none.
fn is_in(place: &str, text: &str) -> bool {
    let mut numbers = place.split(':').skip(1).map(|part| part.parse::<usize>().ok());
    let (Some(Some(line)), Some(Some(column))) = (numbers.next(), numbers.next()) else { return false };
    let lines: Vec<&str> = text.split('\n').collect();
    let line = line.checked_sub(1).and_then(|index| lines.get(index));
    line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&column))
}

fuzz_target!(|text: &str| {
    match text.split_at_checked(1) {
        Some(("s", text)) => check::<servidor::settings::Own>(&servidor::settings::PROGRAM, text),
        Some(("c", text)) => check::<cliente::settings::Own>(&cliente::settings::PROGRAM, text),
        _ => {}
    }
});
