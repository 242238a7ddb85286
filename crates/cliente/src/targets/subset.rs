//! Which targets a client of a fleet probes, so that each target is probed by about as many clients as any other.
//!
//! There are as many rings as a client has targets. On each ring the targets are ordered by a hash of their names. A client is at the
//! position of its own host, and probes the target that comes next. If each host has a client and a target, every target comes
//! next after exactly one client on each ring. When a target comes or goes, only the clients before it choose anew.

use std::num::NonZeroU32;

use super::labels::Labelled;
use super::target::Target;
use crate::hash::{fnv, mix};

/// The targets that the client on the host `node` probes: `fan_out` of them, and none on its own host.
pub(crate) fn choose(node: &str, fan_out: NonZeroU32, targets: Vec<Labelled>) -> Vec<Labelled> {
    let (own, mut others): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|labelled| is_on(&labelled.target, node));
    let place = fnv(own.first().map_or(node, |labelled| labelled.target.as_str()));
    let mut hashes: Vec<u64> = others.iter().map(|labelled| fnv(labelled.target.as_str())).collect();
    let mut chosen = Vec::new();
    for ring in 0..fan_out.get() {
        let start = position(ring, place);
        let distances = hashes.iter().map(|hash| position(ring, *hash).wrapping_sub(start));
        let Some((next, _)) = distances.enumerate().min_by_key(|(_, distance)| *distance) else { break };
        hashes.swap_remove(next);
        chosen.push(others.swap_remove(next));
    }
    chosen
}

/// Where on a ring a name is that has this hash.
fn position(ring: u32, hash: u64) -> u64 {
    // The odd number nearest to 2^64 divided by the golden ratio makes the rings independent of each other.
    mix(hash.wrapping_add(u64::from(ring).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn is_on(target: &Target, node: &str) -> bool {
    let host = target.host();
    host.trim_end_matches('.').eq_ignore_ascii_case(node.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::targets::labels::Labels;

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("node-{number}.example")).collect()
    }

    fn targets<'a>(hosts: impl IntoIterator<Item = &'a String>) -> Vec<Labelled> {
        let labels = Arc::new(Labels::default());
        let target = |host| format!("{host}:8888").parse().expect("a target");
        hosts.into_iter().map(|host| Labelled { target: target(host), labels: Arc::clone(&labels) }).collect()
    }

    fn names(node: &str, fan_out: u32, targets: Vec<Labelled>) -> BTreeSet<String> {
        let fan_out = NonZeroU32::new(fan_out).expect("not zero");
        choose(node, fan_out, targets).iter().map(|labelled| labelled.target.to_string()).collect()
    }

    /// What each host probes in a mesh of these hosts.
    fn mesh(hosts: &[String], fan_out: u32) -> BTreeMap<&str, BTreeSet<String>> {
        let targets = targets(hosts);
        hosts.iter().map(|host| (host.as_str(), names(host, fan_out, targets.clone()))).collect()
    }

    #[test]
    fn in_a_mesh_every_target_is_probed_about_equally_often() {
        for (count, fan_out, least, most) in [(1000, 10, 7, 13), (60, 10, 5, 15), (200, 3, 1, 5)] {
            let hosts = hosts(count);
            let mut clients: BTreeMap<&str, usize> = BTreeMap::new();
            let mesh = mesh(&hosts, fan_out);
            for (host, chosen) in &mesh {
                assert_eq!(chosen.len(), fan_out as usize, "{host} probes as many as it should");
                assert!(!chosen.contains(&format!("{host}:8888")), "{host} does not probe itself");
                for target in chosen {
                    *clients.entry(target).or_default() += 1;
                }
            }
            assert_eq!(clients.len(), count, "every target is probed");
            for (target, clients) in clients {
                assert!((least..=most).contains(&clients), "{clients} of {count} clients probe {target}");
            }
        }
    }

    #[test]
    fn a_host_that_comes_or_goes_changes_few_choices() {
        const FAN_OUT: u32 = 10;
        let hosts = hosts(300);
        let (last, others) = hosts.split_last().expect("hosts");
        let (with, without) = (mesh(&hosts, FAN_OUT), mesh(others, FAN_OUT));
        let changed =
            |from: &BTreeMap<&str, BTreeSet<String>>, to: &BTreeMap<&str, BTreeSet<String>>| -> usize {
                from.iter()
                    .filter(|(host, _)| *host != last)
                    .map(|(host, chosen)| chosen.difference(&to[host]).count())
                    .sum()
            };
        for (what, changed) in [("it goes", changed(&with, &without)), ("it comes", changed(&without, &with))]
        {
            assert!((7..=15).contains(&changed), "{changed} choices change when {what}");
        }
    }

    #[test]
    fn a_choice_depends_on_names_alone() {
        let hosts = hosts(50);
        let forwards = names("node-7.example", 5, targets(&hosts));
        assert_eq!(forwards, names("NODE-7.example.", 5, targets(hosts.iter().rev())));
        assert_ne!(forwards, names("node-8.example", 5, targets(&hosts)));
    }

    #[test]
    fn a_client_without_a_target_of_its_own_chooses_as_well() {
        let hosts = hosts(50);
        assert_eq!(names("elsewhere", 5, targets(&hosts)).len(), 5);
        assert_eq!(names("elsewhere", 500, targets(&hosts)).len(), 50);
        assert_eq!(names("node-7.example", 500, targets(&hosts)).len(), 49);
        assert_eq!(names("node-7.example", 5, targets(&hosts[7..8])).len(), 0);
    }
}
