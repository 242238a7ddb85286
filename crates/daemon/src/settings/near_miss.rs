//! Variables that are not those of a setting, but look like it.

use std::env;

use super::Setting;

/// So many letters are wrong, missing, too many or swapped. Kubernetes' variables for a service differ by more.
const MAX_DISTANCE: usize = 2;

/// A variable without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// What it is called.
    pub variable: String,
    /// What the variable of a setting is called.
    pub expected: String,
}

/// The variables that were probably meant for a setting of `program`, in the order of their names.
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
    fn only_what_is_nearly_a_setting_is_one_misspelt() {
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
