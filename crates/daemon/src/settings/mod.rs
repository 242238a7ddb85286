//! Settings: one declaration of each defines its field, flag, variable, TOML key, default, help and manual entry.
//!
//! Values are read from spanned TOML by hand. serde's derive stops at the first error; here all errors of all sources are
//! reported at once.

mod common;
mod error;
mod file;
mod misuse;
mod near_miss;
mod print;
mod source;
mod start;
mod suggestions;
mod value;

pub use common::{Common, HostNames, LogFormat, LogLevel, MetricsListen, Networks, WorkerThreads};
pub use error::{InOneLine, SettingError, SettingErrors};
pub use file::read_again;
pub use near_miss::NearMiss;
pub use print::{default_config, effective_config};
pub use source::{Given, Outside, Source};
pub use start::{Defaults, Extra, Implied, Program, REVISION, Start, VERSION, command, read, schema, start};
pub use suggestions::Suggestions;
pub use value::{Count, Delay, List, Period, Value, quoted};

use std::path::PathBuf;

use crate::open_files::OpenFilesError;

/// A setting, without its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The TOML key and the name of the flag.
    pub name: String,
    /// The value where no source gives one, as it would be written on the command line.
    pub default: &'static str,
    /// Its description for the manual: one or more sentences, with the line breaks of the source.
    pub doc: &'static str,
    /// Whether a reload applies it.
    pub change: Change,
    /// What a value looks like, for error messages and the manual.
    pub expected: &'static str,
    /// Values that completions offer.
    pub suggestions: &'static [&'static str],
    /// Whether it takes several values.
    pub list: bool,
    /// Whether it may have no value.
    pub may_be_empty: bool,
    /// Whether TOML writes it without quotes.
    pub bare: bool,
}

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At a reload.
    Live,
    /// At the next start.
    Restart,
}

impl Setting {
    /// The setting with this field.
    pub fn new<T: Value>(field: &str, default: &'static str, doc: &'static str, change: Change) -> Self {
        Self {
            name: field.replace('_', "-"),
            default,
            doc,
            change,
            expected: T::EXPECTED,
            suggestions: T::SUGGESTIONS,
            list: T::LIST,
            may_be_empty: T::MAY_BE_EMPTY,
            bare: T::BARE,
        }
    }

    /// The environment variable that sets it for `program`.
    pub fn variable(&self, program: &str) -> String {
        format!("{program}_{}", self.name).replace('-', "_").to_uppercase()
    }
}

/// A group of settings, as [`settings!`](crate::settings!) declares it.
pub trait Section: Clone + PartialEq + Send + Sync + 'static {
    /// All its settings, in the order of declaration.
    fn schema() -> Vec<Setting>;

    /// Parses all values. `None` if one is wrong: `source` then has the error.
    fn read(source: &mut Given) -> Option<Self>;

    /// Each setting's value in TOML, in the order of [`Section::schema`].
    fn values(&self) -> Vec<String>;

    /// Whether each setting differs from that of `other`, in the order of [`Section::schema`].
    fn differ(&self, other: &Self) -> Vec<bool>;

    /// Resets the settings that need a restart to their values in `started`.
    fn keep_until_restart(&mut self, started: &Self);

    /// Adapts defaults to other settings, once all values are read.
    fn settle(&mut self) {}

    /// The files besides the settings file whose contents are part of the settings: each is read again when it changes.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The same settings, with the current contents of [`Section::files`].
    ///
    /// # Errors
    ///
    /// The errors in them, with their places.
    fn read_files_again(&self) -> Result<Self, String> {
        Ok(self.clone())
    }

    /// Errors that only several settings together show, including the common ones.
    fn contradictions(&self, _common: &Common) -> Vec<String> {
        Vec::new()
    }

    /// Raises the limits of this process as far as the settings need.
    ///
    /// # Errors
    ///
    /// If a limit cannot be raised. The error names the setting.
    fn claim(&self, _common: &Common) -> Result<(), ClaimError> {
        Ok(())
    }
}

/// A setting that needs more than the limits of this process allow.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {value}")]
pub struct ClaimError {
    /// The setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// Which limit.
    #[source]
    pub error: OpenFilesError,
}

/// The settings of a daemon: its own and the common ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings<S> {
    /// What only this daemon has.
    pub own: S,
    /// What both daemons have.
    pub common: Common,
}

impl<S: Section> Settings<S> {
    /// All settings of the daemon.
    pub fn schema() -> Vec<Setting> {
        [S::schema(), Common::schema()].concat()
    }

    /// Each setting's value in TOML, in the order of [`Settings::schema`].
    pub fn values(&self) -> Vec<String> {
        [self.own.values(), self.common.values()].concat()
    }

    /// Resets the settings that need a restart to their values in `started`.
    pub fn keep_until_restart(&mut self, started: &Self) {
        self.own.keep_until_restart(&started.own);
        self.common.keep_until_restart(&started.common);
    }

    /// The settings that differ from `other`.
    pub fn differences(&self, other: &Self) -> Vec<Setting> {
        let differ = [self.own.differ(&other.own), self.common.differ(&other.common)].concat();
        Self::schema()
            .into_iter()
            .zip(differ)
            .filter(|(_, differs)| *differs)
            .map(|(setting, _)| setting)
            .collect()
    }
}

/// Declares a group of settings: `field: Type = "default", Live | Restart;`. The doc comments are also the manual.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $Name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $Type:ty = $default:literal, $change:ident; )+
        }
        $( settle($settling:ident) $settle:block )?
        $( files($reader:ident) $files:block $read_files_again:block )?
        $( contradictions($this:ident, $common:ident) $contradictions:block )?
        $( claim($claimant:ident, $beside:ident) $claim:block )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $( $(#[doc = $doc])+ pub $field: $Type, )+
        }

        impl $crate::settings::Section for $Name {
            fn schema() -> Vec<$crate::settings::Setting> {
                vec![$( $crate::settings::Setting::new::<$Type>(
                    stringify!($field),
                    $default,
                    concat!($($doc, "\n"),+),
                    $crate::settings::Change::$change,
                ) ),+]
            }

            fn read(source: &mut $crate::settings::Given) -> Option<Self> {
                // All are read before the first error returns, so that every error is reported.
                $( let $field = source.take::<$Type>(stringify!($field)); )+
                let mut settings = Self { $( $field: $field? ),+ };
                $crate::settings::Section::settle(&mut settings);
                Some(settings)
            }

            fn values(&self) -> Vec<String> {
                vec![$( $crate::settings::Value::to_toml(&self.$field) ),+]
            }

            fn differ(&self, other: &Self) -> Vec<bool> {
                vec![$( self.$field != other.$field ),+]
            }

            $( fn settle(&mut self) {
                let $settling = self;
                $settle
            } )?

            $( fn files(&self) -> Vec<std::path::PathBuf> {
                let $reader = self;
                $files
            }

            fn read_files_again(&self) -> Result<Self, String> {
                let $reader = self;
                $read_files_again
            } )?

            fn keep_until_restart(&mut self, started: &Self) {
                $( if matches!($crate::settings::Change::$change, $crate::settings::Change::Restart) {
                    self.$field.clone_from(&started.$field);
                } )+
            }

            $( fn contradictions(&self, $common: &$crate::settings::Common) -> Vec<String> {
                let $this = self;
                $contradictions
            } )?

            $( fn claim(&self, $beside: &$crate::settings::Common) -> Result<(), $crate::settings::ClaimError> {
                let $claimant = self;
                $claim
            } )?
        }
    };
}
