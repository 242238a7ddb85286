//! Whether a process needs more and more of something.
//!
//! The first quarter of the samples is the warm-up. The second quarter is compared with the last: memory by its median, which may
//! be [`MEMORY_TOLERANCE`] higher; descriptors and threads by what nine looks in ten see at least. Load raises these and lets them
//! fall again, and a connection may be missing for a moment, but a leak raises what is always there: it may not rise at all.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::let_pass;

use crate::bench::process::resident;

/// In bytes: pages that the allocator and the kernel happen to keep.
const MEMORY_TOLERANCE: u64 = 1024 * 1024;
const PERIOD: Duration = Duration::from_millis(500);

/// What a process held at each look.
#[derive(Default)]
pub(super) struct Held {
    resident: Vec<u64>,
    descriptors: Vec<u64>,
    threads: Vec<u64>,
}

impl Held {
    /// Looks at processes until `is_over`.
    pub(super) fn watch(ids: &[u32], is_over: &AtomicBool) -> Vec<Self> {
        let mut held: Vec<Self> = ids.iter().map(|_| Self::default()).collect();
        while !is_over.load(Ordering::Relaxed) {
            for (id, held) in ids.iter().zip(&mut held) {
                let Ok([resident, descriptors, threads]) = look(*id) else { continue };
                held.resident.push(resident);
                held.descriptors.push(descriptors);
                held.threads.push(threads);
            }
            let_pass(Instant::now(), PERIOD);
        }
        held
    }

    /// Each of the three, in the two quarters that are compared.
    pub(super) fn compare(self) -> [Growth; 3] {
        [
            Growth::of(
                "KiB",
                quarters(self.resident).map(|bytes| median(bytes) / 1024),
                MEMORY_TOLERANCE / 1024,
            ),
            Growth::of("descriptors", quarters(self.descriptors).map(base), 0),
            Growth::of("threads", quarters(self.threads).map(base), 0),
        ]
    }
}

/// What a process holds now: bytes, descriptors and threads.
pub(super) fn look(id: u32) -> anyhow::Result<[u64; 3]> {
    let entries =
        |folder: &str| fs::read_dir(format!("/proc/{id}/{folder}")).map(|entries| entries.count() as u64);
    Ok([resident(id)?, entries("fd")?, entries("task")?])
}

/// What a process held in the second quarter, and in the last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Growth {
    what: &'static str,
    first: u64,
    last: u64,
    pub(super) is_too_much: bool,
}

impl Growth {
    fn of(what: &'static str, [first, last]: [u64; 2], tolerance: u64) -> Self {
        Self { what, first, last, is_too_much: last > first + tolerance }
    }

    pub(super) fn shown(&self) -> String {
        format!("{} to {}", self.first, self.last)
    }
}

fn quarters(mut values: Vec<u64>) -> [Vec<u64>; 2] {
    let quarter = values.len() / 4;
    let last = values.split_off(values.len() - quarter);
    values.truncate(2 * quarter);
    [values.split_off(quarter), last]
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn base(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 10).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A process whose memory grows by `leak` bytes, and whose descriptors by `leaked`, at each of 400 looks, besides what load does.
    fn held(leak: u64, leaked: u64) -> [Growth; 3] {
        let load = |look: u64| look * 7 % 20;
        let resident = (0..400).map(|look| 8 * MIB + load(look) * 4096 + look * leak).collect();
        let descriptors = (0..400).map(|look| 20 + load(look) + look / 100 * leaked).collect();
        Held { resident, descriptors, threads: vec![7; 400] }.compare()
    }

    #[test]
    fn load_that_comes_and_goes_is_no_growth() {
        assert!(held(0, 0).iter().all(|growth| !growth.is_too_much));
    }

    #[test]
    fn a_leak_is_growth_however_the_load_varies() {
        let [memory, descriptors, threads] = held(6000, 1);
        assert!(memory.is_too_much && descriptors.is_too_much && !threads.is_too_much);
        assert_eq!((descriptors.first, descriptors.last), (23, 25));
    }

    #[test]
    fn a_connection_that_is_missing_for_a_moment_is_no_growth() {
        let descriptors = (0..400).map(|look| if look == 150 { 17 } else { 18 }).collect();
        let held = Held { resident: vec![MIB; 400], descriptors, threads: vec![7; 400] };
        let [_, descriptors, _] = held.compare();
        assert!(!descriptors.is_too_much, "{descriptors:?}");
    }

    #[test]
    fn what_the_warm_up_takes_is_no_growth() {
        let resident = (0..400).map(|look| 8 * MIB + look.min(90) * MIB).collect();
        let [memory, ..] = Held { resident, descriptors: vec![3; 400], threads: vec![7; 400] }.compare();
        assert!(!memory.is_too_much, "{memory:?}");
    }
}
