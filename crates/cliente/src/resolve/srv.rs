//! The order in which the hosts of a service are tried: RFC 2782.

use hickory_resolver::proto::rr::rdata::SRV;
use rand::{Rng, RngExt};

/// No more hosts of a service are looked up.
const MAX_HOSTS: usize = 64;

/// Those of the lowest priority number first; among equals by chance, in proportion to their weights.
pub(super) fn in_order(mut records: Vec<SRV>, rng: &mut impl Rng) -> Vec<SRV> {
    // A weight of 0 must have a small chance: RFC 2782 puts it first in the list that is drawn from.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::new();
    while ordered.len() < MAX_HOSTS
        && let Some(first) = records.first()
    {
        let priority = first.priority;
        let equals = || records.iter().take_while(|record| record.priority == priority);
        let sum: u64 = equals().map(|record| u64::from(record.weight)).sum();
        let drawn = rng.random_range(0..=sum);
        let mut running = 0;
        let chosen = equals().position(|record| {
            running += u64::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn record(priority: u16, weight: u16, port: u16) -> SRV {
        SRV::new(priority, weight, port, Name::root())
    }

    #[test]
    fn priorities_are_kept_and_weights_are_chances() {
        let records = vec![record(20, 0, 5), record(10, 1, 1), record(10, 3, 2), record(10, 0, 3)];
        let mut rng = StdRng::seed_from_u64(2782);
        let mut first = [0_u32; 4];
        for _ in 0..10_000 {
            let ports: Vec<u16> =
                in_order(records.clone(), &mut rng).iter().map(|record| record.port).collect();
            assert_eq!((ports.len(), ports[3]), (4, 5), "the higher number comes last: {ports:?}");
            first[usize::from(ports[0])] += 1;
        }
        // Drawn from 0 to 4: 0 is the weightless one's, 1 the light one's, 2 to 4 the heavy one's.
        for (port, share) in [(1, 0.2), (2, 0.6), (3, 0.2)] {
            let part = f64::from(first[port]) / 10_000.0;
            assert!((part - share).abs() < 0.05, "{port}: {part}");
        }
    }
}
