//! The source of a run's choices: a seeded generator, or the bytes of a fuzzer.

/// Every choice of a run comes from here, so that the same input gives the same run.
pub(super) struct Choices(Source);

enum Source {
    /// SplitMix64.
    Generator(u64),
    /// When they are used up, every choice is the first option.
    Bytes { bytes: Vec<u8>, used: usize },
}

impl Choices {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(Source::Generator(seed))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes { bytes: bytes.to_vec(), used: 0 })
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        match &mut self.0 {
            Source::Generator(state) => ((u128::from(split_mix(state)) * u128::from(end)) >> 64) as u64,
            Source::Bytes { bytes, used } => {
                let width = (71 - (end - 1).leading_zeros() as usize) / 8;
                let taken = bytes.get(*used..*used + width).unwrap_or_default();
                *used += width;
                taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % end
            }
        }
    }

    /// A number from `least` to `most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// [`Choices::between`], for sizes.
    pub(super) fn size(&mut self, least: usize, most: usize) -> usize {
        least + self.index(most - least + 1)
    }

    /// [`Choices::between`], for bytes.
    pub(super) fn byte(&mut self, least: u8, most: u8) -> u8 {
        u8::try_from(self.between(least.into(), most.into())).expect("it is between two bytes")
    }

    /// An index below `end`, which is not zero.
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("it is below a usize")
    }

    /// True once in `times`. Never true when the bytes are used up.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) + 1 == times
    }

    pub(super) fn pick<'o, T>(&mut self, options: &'o [T]) -> &'o T {
        &options[self.index(options.len())]
    }

    /// A number from `least` to `most`, where each order of magnitude is as likely as the others.
    pub(super) fn magnitude(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least).max(1).ilog2());
        let low = least << self.below(doublings + 1);
        self.between(low, most.min(low * 2 - 1).max(low))
    }

    /// How many calls come before the next fault, if there is one per `mean` calls.
    pub(super) fn gap(&mut self, mean: u64) -> u64 {
        match &self.0 {
            Source::Bytes { bytes, used } if *used >= bytes.len() => u64::MAX,
            _ => 1 + self.below(2 * mean),
        }
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
