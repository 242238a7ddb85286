//! Errors in the settings, as an operator sees them.

use std::fmt;

/// One error, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The file with line and column, the variable or the flag, with the value.
    pub place: String,
    /// What was expected there.
    pub problem: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            formatter.write_str(&self.problem)
        } else {
            write!(formatter, "{}: {}", self.place, self.problem)
        }
    }
}

/// All errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingErrors(pub Vec<SettingError>);

impl fmt::Display for SettingErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(formatter, "1 setting is wrong")?,
            count => write!(formatter, "{count} settings are wrong")?,
        }
        for error in &self.0 {
            write!(formatter, "\n  {error}")?;
        }
        Ok(())
    }
}

impl SettingErrors {
    /// All errors in one line, for the log.
    pub fn in_one_line(&self) -> String {
        self.0.iter().map(SettingError::to_string).collect::<Vec<_>>().join("; ")
    }
}
