//! Who is ready: epoll(7), asked level by level, so that whoever is not served is told of again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use tokio::time::Instant;

/// How many are told of at once; more have their turn the next time.
const MOST_EVENTS: usize = 256;

/// The kernel counts in milliseconds, and in no more than 32 bits of them.
const MOST_PATIENCE: Duration = Duration::from_hours(1);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A connection, by its key.
    Connection(usize),
    /// A listener, by its index.
    Listener(usize),
    /// The event loop's own bell.
    Bell,
}

/// What something is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end of it.
    Read,
    /// Room for something to be written.
    Write,
    /// Nothing, for a while. Failures are told of nevertheless.
    Nothing,
}

/// An epoll instance.
pub(crate) struct Poller(OwnedFd);

/// Those who are ready.
pub(crate) struct Events([MaybeUninit<Event>; MOST_EVENTS]);

impl Poller {
    /// Watches nobody.
    ///
    /// # Errors
    ///
    /// If there is no room for another file.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(crate) fn watch(&self, who: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, who, source.data(), interest.flags())?)
    }

    pub(crate) fn change(&self, who: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, who, source.data(), interest.flags())?)
    }

    /// Forgets who is not closed at once, or whose socket another process has too.
    pub(crate) fn forget(&self, who: impl AsFd) {
        // Whoever is not known need not be forgotten.
        let _ = epoll::delete(&self.0, who);
    }

    /// Waits until someone is ready, at most from `now` to `until`; may end before with nobody.
    pub(crate) fn wait<'e>(
        &self,
        events: &'e mut Events,
        now: Instant,
        until: Option<Instant>,
    ) -> io::Result<impl Iterator<Item = Source> + use<'e>> {
        let patience = until.map(|until| until.saturating_duration_since(now).min(MOST_PATIENCE));
        let patience = patience.map(|patience| Timespec::try_from(patience).expect("an hour is in range"));
        let ready = match epoll::wait(&self.0, &mut events.0, patience.as_ref()) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        Ok(ready.iter().map(|&Event { data, .. }| Source::from(data)))
    }
}

impl Events {
    pub(crate) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MOST_EVENTS])
    }
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::Nothing => EventFlags::empty(),
        }
    }
}

/// The kernel keeps 64 bits for us, of which a connection's key needs but a few.
const BELL: u64 = u64::MAX;
const LISTENERS: u64 = 1 << 63;

impl Source {
    const fn data(self) -> EventData {
        EventData::new_u64(match self {
            Self::Connection(key) => key as u64,
            Self::Listener(index) => LISTENERS | index as u64,
            Self::Bell => BELL,
        })
    }
}

impl From<EventData> for Source {
    fn from(data: EventData) -> Self {
        let index = |data: u64| usize::try_from(data).expect("it was a usize");
        match data.u64() {
            BELL => Self::Bell,
            data if data & LISTENERS != 0 => Self::Listener(index(data ^ LISTENERS)),
            data => Self::Connection(index(data)),
        }
    }
}
