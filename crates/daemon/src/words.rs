//! Words for people, where a count decides upon their form.

use std::fmt;

/// A count, and what is counted: `1 round`, `2 rounds`. For nouns whose plural takes an s.
#[derive(Clone, Copy, Debug)]
pub struct Counted(pub u64, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(formatter, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_in_the_singular_and_no_other_count() {
        let told = [0, 1, 2, 11, 21].map(|count| Counted(count, "round").to_string());
        assert_eq!(told, ["0 rounds", "1 round", "2 rounds", "11 rounds", "21 rounds"]);
    }
}
