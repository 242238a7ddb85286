//! Errors in the settings, as an operator sees them.

use std::fmt::{self, Write as _};

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
        let (place, problem) = (InOneLine(&self.place), InOneLine(&self.problem));
        if self.place.is_empty() {
            write!(formatter, "{problem}")
        } else {
            write!(formatter, "{place}: {problem}")
        }
    }
}

/// Text that may quote what an operator has written, where control characters are shown by their escapes.
#[derive(Clone, Copy, Debug)]
pub struct InOneLine<'t>(pub &'t str);

impl fmt::Display for InOneLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            control if control.is_control() => write!(formatter, "{}", control.escape_default()),
            other => formatter.write_char(other),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_wrote_cannot_break_the_line() {
        let error = SettingError { place: "--target a\nb".to_owned(), problem: "/x\u{1}: é".to_owned() };
        assert_eq!(error.to_string(), "--target a\\nb: /x\\u{1}: é");
    }
}
