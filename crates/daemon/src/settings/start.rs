//! The command line: prints what is asked for and exits, or returns the settings that a daemon runs with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use super::misuse::parse;
use super::{
    Change, MetricsListen, NearMiss, Outside, Section, Setting, SettingError, SettingErrors, Settings,
    Source, Suggestions, default_config, effective_config,
};
use crate::exit::{Failure, complain, in_one_line};

/// A daemon's name, and the parts of its command line that are its own.
#[derive(Clone, Copy)]
pub struct Program {
    /// The name of the binary, of its variables and of its metrics.
    pub name: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// Flags that are not settings.
    pub extra: Extra,
    /// Defaults that differ from the declared ones.
    pub defaults: Defaults,
    /// Values that flags imply.
    pub implied: fn(&ArgMatches) -> Vec<Implied>,
}

/// A value that follows from a flag which is no setting. A flag of the setting's own wins over it.
#[derive(Clone, Debug)]
pub struct Implied {
    /// The name of the setting.
    pub setting: &'static str,
    /// The value, as it would be written on the command line.
    pub value: String,
    /// Whether it wins over variables and the file.
    pub wins: bool,
}

/// Defaults by the names of their settings.
pub type Defaults = &'static [(&'static str, &'static str)];

/// Flags that are not settings.
pub type Extra = fn(Command) -> Command;

/// What a daemon starts with.
#[derive(Debug)]
pub struct Start<S> {
    /// The settings in force.
    pub settings: Settings<S>,
    /// Where to read them again.
    pub source: Source,
    /// The flags that are not settings.
    pub flags: ArgMatches,
}

/// The version of both daemons.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that this was built from, or `unknown`.
pub const REVISION: &str = env!("REVISION");

/// The command line of `program`. The manual, the completions and `--help` are made from it.
pub fn command<S: Section>(program: &Program) -> Command {
    let settings = schema::<S>(program).into_iter().map(flag);
    let base = Command::new(program.name)
        .about(program.about)
        .version(format!("{VERSION} ({REVISION})"))
        .max_term_width(100)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .value_parser(value_parser!(PathBuf))
                .help("Reads settings from a TOML file; none is read unless named"),
        )
        .arg(switch("check-config", "Checks all settings, prints those in force as TOML, and exits"))
        .arg(switch("default-config", "Prints a TOML file with every setting explained, and exits"))
        .arg(switch("check-health", "Asks the running daemon whether it is ready: exits with 0 or 1"));
    (program.extra)(base).next_help_heading("Settings").args(settings)
}

/// The settings with the defaults of `program`.
pub fn schema<S: Section>(program: &Program) -> Vec<Setting> {
    let mut schema = Settings::<S>::schema();
    for setting in &mut schema {
        if let Some((_, default)) = program.defaults.iter().find(|(name, _)| *name == setting.name) {
            setting.default = default;
        }
    }
    schema
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn flag(setting: Setting) -> Arg {
    let doc: Vec<&str> = setting.doc.lines().map(str::trim).collect();
    let restart = if setting.change == Change::Restart { "; not reloaded" } else { "" };
    let default = if setting.default.is_empty() { "none" } else { setting.default };
    Arg::new(setting.name.clone())
        .long(setting.name)
        .value_name("VALUE")
        .value_hint(if setting.suggestions.is_empty() { ValueHint::Other } else { ValueHint::Unknown })
        .value_parser(Suggestions(setting.suggestions))
        .hide_possible_values(true)
        .action(if setting.list { ArgAction::Append } else { ArgAction::Set })
        .allow_hyphen_values(true)
        .help(format!("{} [default: {default}{restart}]", doc.join(" ").trim()))
}

/// Reads the command line and all settings.
///
/// # Errors
///
/// The exit status, if there is nothing left to do: after `--help` and the like, after a health check, or after the errors
/// of the settings were printed on standard error.
pub fn start<S: Section>(
    program: &Program,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Start<S>, ExitCode> {
    let flags = parse(&command::<S>(program), arguments).map_err(|misuse| {
        misuse.print();
        if misuse.is_request() {
            return ExitCode::SUCCESS;
        }
        let read = misuse.rest.map(|flags| source(program, &flags).read::<S>(&Outside::THIS_PROCESS));
        if let Some(Err(errors)) = read {
            complain(program.name, errors);
        }
        Failure::Settings.into()
    })?;
    if flags.get_flag("default-config") {
        return Err(print(program.name, &default_config(program.name, &schema::<S>(program))));
    }
    let mut source = source(program, &flags);
    let refuse = |errors: SettingErrors| {
        complain(program.name, errors);
        ExitCode::from(Failure::Settings)
    };
    let settings = source.read::<S>(&Outside::THIS_PROCESS).map_err(refuse)?;
    if flags.get_flag("check-config") {
        // A start claims it later, when the log can report an error.
        settings.own.claim(&settings.common).map_err(|error| {
            refuse(SettingErrors(vec![SettingError { place: String::new(), problem: in_one_line(&error) }]))
        })?;
        for NearMiss { variable, expected } in source.near_misses::<S>() {
            let program = program.name;
            complain(program, format_args!("{variable} is no variable of {program}, expected {expected}?"));
        }
        return Err(print(program.name, &effective_config(&settings)));
    }
    if flags.get_flag("check-health") {
        return Err(check_health(program.name, settings.common.metrics_listen));
    }
    Ok(Start { settings, source, flags })
}

/// The settings that `arguments` and `outside` give, without printing anything. [`start`] does the same for this process.
///
/// # Errors
///
/// All errors, in the order in which [`start`] prints them; none if `arguments` only ask for help or for the version.
pub fn read<S: Section>(
    program: &Program,
    arguments: impl IntoIterator<Item = OsString>,
    outside: &Outside<'_>,
) -> Result<Settings<S>, SettingErrors> {
    let place = String::new;
    match parse(&command::<S>(program), arguments) {
        Ok(flags) => source(program, &flags).read(outside),
        Err(misuse) if misuse.is_request() => Err(SettingErrors(Vec::new())),
        Err(misuse) => {
            let problems = misuse.problems();
            let mut errors: Vec<_> =
                problems.map(|problem| SettingError { place: place(), problem }).collect();
            let read = misuse.rest.as_ref().map(|flags| source(program, flags).read::<S>(outside));
            errors.extend(read.and_then(Result::err).into_iter().flat_map(|errors| errors.0));
            Err(SettingErrors(errors))
        }
    }
}

fn source(program: &Program, flags: &ArgMatches) -> Source {
    Source::new(program.name, flags.clone(), program.defaults, (program.implied)(flags))
}

fn print(program: &str, text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, format_args!("cannot write to standard output: {error}"));
            Failure::Run.into()
        }
    }
}

fn check_health(program: &str, listen: MetricsListen) -> ExitCode {
    let MetricsListen::At(address) = listen else {
        complain(program, "metrics-listen is off: expected an address to ask for the daemon's health");
        return Failure::Settings.into();
    };
    match crate::http::health::ask_ready(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(program, format_args!("not ready: {address}: {problem}"));
            Failure::Run.into()
        }
    }
}
