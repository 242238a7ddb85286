//! Environment variables that look like a misspelt setting.

use std::env;

use super::Setting;

/// How many letters may be wrong, missing, extra or swapped. Kubernetes' variables for a service differ by more.
const MAX_DISTANCE: usize = 2;

/// A variable that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// Its name.
    pub variable: String,
    /// The name of the setting's variable.
    pub expected: String,
}

/// The variables that were probably meant for a setting of `program`, sorted by name.
pub(super) fn near_misses(program: &str, schema: &[Setting]) -> Vec<NearMiss> {
    let known: Vec<String> = schema.iter().map(|setting| setting.variable(program)).collect();
    let set = env::vars_os().filter(|(_, value)| !value.is_empty());
    let mut misses: Vec<NearMiss> = set.filter_map(|(name, _)| near_miss(name.to_str()?, &known)).collect();
    misses.sort_unstable_by(|one, other| one.variable.cmp(&other.variable));
    misses
}

fn near_miss(variable: &str, known: &[String]) -> Option<NearMiss> {
    if known.iter().any(|known| known == variable) {
        return None;
    }
    let upper = variable.to_uppercase().replace('-', "_");
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(&upper, known), known));
    let (_, expected) = distances.min().filter(|(distance, _)| *distance <= MAX_DISTANCE)?;
    Some(NearMiss { variable: variable.to_owned(), expected: expected.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_close_to_a_variable_are_reported() {
        let known = ["CLIENTE_TARGET", "CLIENTE_METRICS_LISTEN", "CLIENTE_METRICS_HOSTS"].map(str::to_owned);
        let expected = |variable| near_miss(variable, &known).map(|miss| miss.expected);
        for (variable, setting) in [
            ("CLIENTE_TARGTE", "CLIENTE_TARGET"),
            ("CLIENTE_TARGETS", "CLIENTE_TARGET"),
            ("cliente_target", "CLIENTE_TARGET"),
            ("CLIENTE_METRICS-LISTEN", "CLIENTE_METRICS_LISTEN"),
        ] {
            assert_eq!(expected(variable).as_deref(), Some(setting), "{variable}");
        }
        for variable in [
            "CLIENTE_TARGET",
            "CLIENTE_PORT",
            "CLIENTE_SERVICE_HOST",
            "CLIENTE_METRICS_PORT",
            "SERVIDOR_TARGET",
            "TARGET",
        ] {
            assert_eq!(expected(variable), None, "{variable}");
        }
    }
}
