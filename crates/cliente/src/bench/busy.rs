//! How busy a thread of the generator was: a generator that is the limit measures itself.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Above this share of the time, a thread could hardly have sent more.
const LIMIT: f64 = 0.9;

/// What a thread did with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Busy {
    /// Time on a processor, in the system or out of it.
    pub cpu: Duration,
    /// Time in which it could have run, and others did. Zero where the kernel does not say.
    pub waited: Duration,
    /// All the time.
    pub wall: Duration,
}

impl Busy {
    /// The share of the time that it was on a processor.
    pub fn cpu_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The share of the time that it waited for a processor.
    pub fn waited_share(&self) -> f64 {
        self.waited.as_secs_f64() / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether it could hardly have done more.
    pub fn was_the_limit(&self) -> bool {
        self.cpu_share() + self.waited_share() > LIMIT
    }
}

/// The calling thread's clocks at the beginning of what is measured.
#[derive(Debug)]
pub(super) struct Clocks {
    begun: Instant,
    cpu: Duration,
    waited: Duration,
}

impl Clocks {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu(), waited: waited() }
    }

    pub(super) fn read(&self) -> Busy {
        Busy {
            cpu: cpu().saturating_sub(self.cpu),
            waited: waited().saturating_sub(self.waited),
            wall: self.begun.elapsed(),
        }
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The second number of the scheduler's own account of the thread.
fn waited() -> Duration {
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = account.split_whitespace().nth(1).and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_on_a_processor_and_no_longer_than_it_worked() {
        let clocks = Clocks::start();
        while clocks.read().cpu < Duration::from_millis(2) {}
        let busy = clocks.read();
        // The clocks are read one after the other, so allow for an interruption between them.
        assert!(busy.cpu <= busy.wall + Duration::from_millis(1), "{busy:?}");
    }

    #[test]
    fn waiting_for_a_processor_counts_like_having_it() {
        let [cpu, waited, wall] = [60, 35, 100].map(Duration::from_millis);
        assert!(Busy { cpu, waited, wall }.was_the_limit());
        assert!(!Busy { cpu, waited: Duration::ZERO, wall }.was_the_limit());
    }
}
