//! Which descriptors are ready: epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How many events one wait reports. The next wait reports the rest.
const MAX_EVENTS: usize = 256;
/// The longest wait. It keeps the timeout within the range of epoll_wait(2).
const MAX_WAIT: Duration = Duration::from_hours(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a descriptor is watched for. Errors and the end of both directions are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end of the stream: every wait reports it (level-triggered).
    Read,
    /// Room to write: every wait reports it (level-triggered).
    Write,
    /// Any change of either, reported once (edge-triggered): a reader must read until there is nothing left.
    Changes,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token that it is watched with.
    pub token: u64,
    /// There are bytes to read, or the end of the stream.
    pub readable: bool,
    /// The peer sends nothing more. Only known with [`Interest::Changes`], or if the connection failed.
    pub ended: bool,
    /// The descriptor has an error, or both directions have ended.
    pub failed: bool,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Poller(OwnedFd);

impl Poller {
    /// An instance without watched descriptors.
    ///
    /// # Errors
    ///
    /// If the process or the host has too many open files.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Watches a descriptor until it is closed, and reports it with `token`.
    ///
    /// # Errors
    ///
    /// If it is watched already, or if memory or the user's watches (`fs.epoll.max_user_watches`) are exhausted.
    pub fn watch(&self, descriptor: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, descriptor, EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what a watched descriptor is watched for.
    ///
    /// # Errors
    ///
    /// If it is not watched.
    pub fn change(&self, descriptor: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, descriptor, EventData::new_u64(token), interest.flags())?)
    }

    /// Stops watching a descriptor. Needed if it stays open, here or in another process.
    ///
    /// # Errors
    ///
    /// If it is not watched.
    pub fn forget(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, descriptor)?)
    }

    /// Waits until a descriptor is ready, at most for `timeout`, and stores what is ready in `ready`.
    ///
    /// May return early with nothing ready: when a signal arrives, and less than one millisecond before the end of a timeout
    /// that is not a whole number of milliseconds. A second wait for the rest is exact to the nanosecond, apart from the
    /// thread's timer slack (50 µs by default).
    ///
    /// # Errors
    ///
    /// None with a working kernel.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        match self.wait_for_events(ready, timeout) {
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_for_events(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<(), Errno> {
        let mut timeout = timeout.map(|timeout| timeout.min(MAX_WAIT));
        if let Some(short) = timeout.filter(|timeout| !timeout.is_zero() && *timeout < MILLISECOND) {
            // epoll_wait(2) counts milliseconds. epoll_pwait2(2) does not, but older kernels and seccomp filters refuse it.
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timespec(short)))? == 0 {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
        let timeout = timeout.map(|timeout| timespec(whole_milliseconds(timeout)));
        let mut events = [const { MaybeUninit::<Event>::uninit() }; MAX_EVENTS];
        let (events, _) = epoll::wait(&self.0, &mut events, timeout.as_ref())?;
        ready.extend(events.iter().map(Ready::from));
        Ok(())
    }
}

/// Rounded down. Linux may end a wait late by a thousandth of its timeout. The wait for the rest corrects that.
fn whole_milliseconds(timeout: Duration) -> Duration {
    Duration::new(timeout.as_secs(), timeout.subsec_millis() * 1_000_000)
}

fn timespec(timeout: Duration) -> Timespec {
    Timespec::try_from(timeout).expect("an hour is in range")
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::Changes => {
                EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET)
            }
        }
    }
}

impl From<&Event> for Ready {
    #[inline]
    fn from(&Event { flags, data }: &Event) -> Self {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let ended = failed || flags.contains(EventFlags::RDHUP);
        Self { token: data.u64(), readable: ended || flags.contains(EventFlags::IN), ended, failed }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;
    use crate::Waker;

    #[test]
    fn a_waker_is_reported_until_it_is_acknowledged() {
        let (poller, waker) = (Poller::new().expect("a file"), Waker::new().expect("a file"));
        poller.watch(&waker, 7, Interest::Read).expect("it is not watched yet");
        let mut ready = Vec::new();
        let mut tokens = || {
            poller.wait(&mut ready, Some(Duration::ZERO)).expect("epoll works");
            ready.iter().map(|ready| ready.token).collect::<Vec<_>>()
        };
        assert!(tokens().is_empty());
        waker.clone().wake();
        waker.wake();
        assert_eq!([tokens(), tokens()], [[7], [7]]);
        waker.acknowledge();
        assert!(tokens().is_empty());
    }

    #[test]
    fn interests_can_be_changed_and_removed() {
        let poller = Poller::new().expect("a file");
        let (socket, peer) = UnixStream::pair().expect("two files");
        poller.watch(&socket, 1, Interest::Read).expect("it is not watched yet");
        let mut ready = Vec::new();
        let mut is_ready = || {
            poller.wait(&mut ready, Some(Duration::ZERO)).expect("epoll works");
            !ready.is_empty()
        };
        assert!(!is_ready(), "nothing to read");
        poller.change(&socket, 1, Interest::Write).expect("it is watched");
        assert!(is_ready(), "room to write");
        poller.change(&socket, 1, Interest::Read).expect("it is watched");
        drop(peer);
        assert!(is_ready(), "the end of the stream");
        poller.forget(&socket).expect("it is watched");
        assert!(!is_ready());
    }

    #[test]
    fn a_second_wait_for_the_rest_completes_a_timeout() {
        let poller = Poller::new().expect("a file");
        let (start, timeout) = (Instant::now(), Duration::from_nanos(2_500_300));
        let mut waits = 0;
        while let Some(rest) = timeout.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero()) {
            poller.wait(&mut Vec::new(), Some(rest)).expect("epoll works");
            waits += 1;
        }
        assert!(waits <= 2, "{waits} waits: whole milliseconds, and the rest");
    }

    #[test]
    fn a_wait_can_be_shorter_than_a_millisecond() {
        let poller = Poller::new().expect("a file");
        let timeout = Duration::from_micros(100);
        // A wait that is rounded up is never short. Others are sooner or later, even on a busy machine.
        let is_short = |_| {
            let start = Instant::now();
            poller.wait(&mut Vec::new(), Some(timeout)).expect("epoll works");
            (timeout..MILLISECOND).contains(&start.elapsed())
        };
        assert!((0..10_000).any(is_short));
    }

    #[test]
    fn a_ready_descriptor_ends_a_wait_of_any_length() {
        let (poller, waker) = (Poller::new().expect("a file"), Waker::new().expect("a file"));
        poller.watch(&waker, 7, Interest::Changes).expect("it is not watched yet");
        let mut ready = Vec::new();
        for timeout in [None, Some(Duration::from_hours(9)), Some(Duration::from_nanos(999_999))] {
            waker.wake();
            poller.wait(&mut ready, timeout).expect("epoll works");
            assert_eq!(ready.iter().map(|ready| ready.token).collect::<Vec<_>>(), [7], "{timeout:?}");
        }
    }
}
