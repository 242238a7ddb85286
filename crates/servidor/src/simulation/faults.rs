//! Fault injection: interrupted calls, stalls, errors of accept(2) and epoll_ctl(2), a lack of descriptors.

use rustix::io::Errno;

use super::choices::Choices;
use super::trace::{Time, trace};
use super::world::{MILLISECOND, SECOND, World};

/// See the module.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) interrupts: Countdown,
    pub(super) short_transfers: Countdown,
    pub(super) spurious: Countdown,
    pub(super) stalls: Countdown,
    pub(super) preemptions: Countdown,
    pub(super) suspensions: Countdown,
    pub(super) watch_failures: Countdown,
    pub(super) listener_watch_failures: Countdown,
    /// A connection that died in the queue.
    pub(super) dead_in_queue: Countdown,
    /// The longest stall.
    pub(super) longest_stall: u64,
    /// How many descriptors the process may have open.
    pub(super) descriptors: usize,
    /// By listener: the error of accept, while the fault lasts.
    pub(super) failing: Vec<Option<Errno>>,
    pub(super) schedule: Vec<Fault>,
    /// Whether a wait reports readiness in any order.
    pub(super) shuffles: bool,
}

/// A fault that begins or ends at a given time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// accept fails with this error and does not change the queue, or no longer fails.
    Failing(usize, Option<Errno>),
    /// The listener is shut down from outside.
    ListenerDies(usize),
    /// A limit of open descriptors.
    Descriptors(usize),
}

/// Hits once in a random number of calls.
#[derive(Default)]
pub(super) struct Countdown {
    mean: u64,
    left: u64,
}

impl Countdown {
    pub(super) fn new(mean: u64, choices: &mut Choices) -> Self {
        Self { mean, left: if mean == 0 { 0 } else { choices.gap(mean) } }
    }

    pub(super) fn hits(&mut self, choices: &mut Choices) -> bool {
        if self.mean == 0 {
            return false;
        }
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = choices.gap(self.mean);
        true
    }
}

/// Errors that end one connection of the queue.
pub(super) const OF_ONE_CONNECTION: [Errno; 11] = [
    Errno::CONNABORTED,
    Errno::PROTO,
    Errno::NOPROTOOPT,
    Errno::HOSTDOWN,
    Errno::NONET,
    Errno::HOSTUNREACH,
    Errno::OPNOTSUPP,
    Errno::NETUNREACH,
    Errno::NETDOWN,
    Errno::TIMEDOUT,
    Errno::CONNRESET,
];

/// Errors that last for a while.
pub(super) const OF_THE_HOST: [Errno; 5] =
    [Errno::PERM, Errno::ACCESS, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// Errors of epoll_ctl(2): no memory, or too many watches of one user.
pub(super) const OF_WATCHING: [Errno; 2] = [Errno::NOMEM, Errno::NOSPC];

/// The name of an error of accept(2) in the coverage.
pub(super) fn accept_error(errno: Errno) -> &'static str {
    match errno {
        Errno::CONNABORTED => "accept: ECONNABORTED",
        Errno::PROTO => "accept: EPROTO",
        Errno::NOPROTOOPT => "accept: ENOPROTOOPT",
        Errno::HOSTDOWN => "accept: EHOSTDOWN",
        Errno::NONET => "accept: ENONET",
        Errno::HOSTUNREACH => "accept: EHOSTUNREACH",
        Errno::OPNOTSUPP => "accept: EOPNOTSUPP",
        Errno::NETUNREACH => "accept: ENETUNREACH",
        Errno::NETDOWN => "accept: ENETDOWN",
        Errno::TIMEDOUT => "accept: ETIMEDOUT",
        Errno::CONNRESET => "accept: ECONNRESET",
        Errno::PERM => "accept: EPERM",
        Errno::ACCESS => "accept: EACCES",
        Errno::MFILE => "accept: EMFILE",
        Errno::NFILE => "accept: ENFILE",
        Errno::NOBUFS => "accept: ENOBUFS",
        Errno::NOMEM => "accept: ENOMEM",
        Errno::INVAL => "accept: EINVAL",
        Errno::AGAIN => "accept: EAGAIN",
        Errno::INTR => "EINTR: accept",
        _ => unreachable!("no such error is simulated"),
    }
}

impl World {
    /// A fault of the schedule begins or ends.
    pub(super) fn turn_fault(&mut self, fault: usize) {
        let fault = self.faults.schedule[fault];
        trace!(self, "fault: {fault:?}");
        match fault {
            Fault::Failing(listener, errno) => self.faults.failing[listener] = errno,
            Fault::ListenerDies(listener) => self.listeners[listener].is_dead = true,
            Fault::Descriptors(descriptors) => self.faults.descriptors = descriptors,
        }
    }

    /// One event loop does not run for a while.
    pub(super) fn suspend(&mut self, me: usize, time: u64) {
        self.loops[me].suspended_until = self.now + time;
        self.oracle.stalled_for(time);
        self.coverage.count("thread suspended");
        trace!(self, "loop {me} does not run for {} s", Time(time));
    }

    /// The whole process does not run for a while.
    pub(super) fn stall(&mut self) {
        let time = self.choices.magnitude(MILLISECOND, self.faults.longest_stall.max(MILLISECOND));
        self.coverage.count(match time / SECOND {
            0 => "stall: below 1 s",
            1..60 => "stall: below 1 min",
            _ => "stall: up to 1 h",
        });
        trace!(self, "the process stalls for {} s", Time(time));
        self.oracle.stalled_for(time);
        self.advance_to(self.now + time);
    }
}
