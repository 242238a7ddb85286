//! Waits for sockets and for a moment: epoll, and a timer that is as precise as the clock.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

const MOST_EVENTS: usize = 256;
const ALARM: u64 = u64::MAX;
const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The sockets of one thread.
pub(super) struct Poller {
    epoll: OwnedFd,
    /// Epoll's own patience is counted in milliseconds; a request of an open loop is due to the microsecond.
    alarm: OwnedFd,
    alarm_at: Option<Instant>,
}

/// What one wait found. It stays on its thread; a [`Poller`] may move.
pub(super) struct Events(Vec<Event>);

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) readable: bool,
    /// The peer will send nothing more.
    pub(super) ended: bool,
    pub(super) failed: bool,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, alarm, alarm_at: None })
    }

    /// Tells of `socket` by `index` until it is closed. Told once of each change: a reader must read all there is.
    pub(super) fn add(&self, socket: impl AsFd, index: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(index as u64), flags)?)
    }

    /// Fills `events`: waits for sockets, at the longest until `alarm`, and until `latest` or a little later.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        now: Instant,
        alarm: Option<Instant>,
        latest: Instant,
    ) -> io::Result<()> {
        events.0.clear();
        let mut patience = timespec(now, latest);
        match alarm {
            Some(at) if at <= now => patience = ZERO,
            Some(at) if at < latest => self.set_alarm(at, now)?,
            _ => {}
        }
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_alarm(&mut self, at: Instant, now: Instant) -> io::Result<()> {
        if self.alarm_at != Some(at) {
            self.alarm_at = Some(at);
            let time = Itimerspec { it_interval: ZERO, it_value: timespec(now, at) };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &time)?;
        }
        Ok(())
    }
}

impl Events {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(MOST_EVENTS))
    }

    /// The sockets' indices, and what they are ready for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Readiness)> {
        let sockets = self.0.iter().filter(|event| event.data.u64() != ALARM);
        sockets.map(|&Event { flags, data }| {
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            let ended = failed || flags.contains(EventFlags::RDHUP);
            let readable = ended || flags.contains(EventFlags::IN);
            let index = usize::try_from(data.u64()).expect("it was a usize");
            (index, Readiness { readable, ended, failed })
        })
    }
}

fn timespec(from: Instant, to: Instant) -> Timespec {
    // A time too long for the kernel's clocks is as good as this one.
    Timespec::try_from(to.saturating_duration_since(from)).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}
