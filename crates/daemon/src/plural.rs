//! A count with its noun in the singular or the plural.

use std::fmt;

/// A count and its noun: `1 round`, `2 rounds`. For nouns whose plural takes an s.
#[derive(Clone, Copy, Debug)]
pub struct Plural(pub u64, pub &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(formatter, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_takes_the_singular() {
        let texts = [0, 1, 2, 11, 21].map(|count| Plural(count, "round").to_string());
        assert_eq!(texts, ["0 rounds", "1 round", "2 rounds", "11 rounds", "21 rounds"]);
    }
}
