//! When the rounds of a target are due, as README and ARCHITECTURE say.

/// The ticks of one target. Times are signed: the epoch is before the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    pub(super) due: i128,
    pub(super) interval: u64,
}

/// When a target ticks within each interval: a hash of its name, FNV-1a finished as in MurmurHash3, as a part of the interval.
pub(super) fn phase(target: &str, interval: u64) -> u64 {
    let mut hash: u64 = 14_695_981_039_346_656_037;
    for byte in target.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
    }
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^= hash >> 33;
    u64::try_from((u128::from(interval) * u128::from(hash)) >> 64).expect("less than the interval")
}

impl Ticks {
    /// Those from the first that is still to come at `now`.
    pub(super) fn from(epoch: i128, target: &str, interval: u64, now: u64) -> Self {
        let first = epoch + i128::from(phase(target, interval));
        let (late, each) = ((i128::from(now) - first).max(0), i128::from(interval));
        Self { due: first + (late + each - 1) / each * each, interval }
    }

    /// Takes the tick whose round begins at `now`. Returns when it was due, and how many before it are skipped.
    pub(super) fn begin(&mut self, now: u64) -> (i128, u64) {
        let late = i128::from(now) - self.due;
        let skipped = late.max(0) / i128::from(self.interval);
        let due = self.due + skipped * i128::from(self.interval);
        self.due = due + i128::from(self.interval);
        (due, u64::try_from(skipped).expect("fewer than 2^64"))
    }

    /// Skips the ticks that fell due before `now`, when a round ended. Returns how many.
    pub(super) fn end(&mut self, now: u64) -> u64 {
        let mut skipped = 0;
        while self.due < i128::from(now) {
            self.due += i128::from(self.interval);
            skipped += 1;
        }
        skipped
    }
}
