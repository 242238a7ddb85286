//! The choices of a run: one seed makes all of them.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Every choice of a run comes from here, so that the same seed gives the same run.
#[derive(Debug)]
pub(super) struct Choices(StdRng);

impl Choices {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Choices that do not depend on those that are made here later.
    pub(super) fn fork(&mut self) -> Self {
        Self::from_seed(self.seed())
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.0.random_range(0..times) == 0
    }

    /// True in so many cases of a thousand.
    pub(super) fn per_mille(&mut self, cases: u64) -> bool {
        self.0.random_range(0..1000) < cases
    }

    pub(super) fn pick<'o, T>(&mut self, options: &'o [T]) -> &'o T {
        &options[self.0.random_range(0..options.len())]
    }

    /// A number from `least` to `most`, where each order of magnitude is as likely as the others.
    pub(super) fn magnitude(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least).max(1).ilog2());
        let low = least << self.between(0, doublings);
        self.between(low, most.min(low * 2 - 1).max(low))
    }
}
