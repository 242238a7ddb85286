//! Messages to the service manager, which is never waited for: sd_notify(3).

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, socket_with,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

/// How soon a message that could not be sent is sent again. The wait doubles after each failure.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// With this many messages in the queue, further reloads are not announced.
const MAX_QUEUED: usize = 32;

/// Reports the daemon's state to the service manager. Without a service manager, nothing happens.
///
/// The manager's socket is full while the manager does not read. Changes of state are then queued, and sent in order as
/// soon as there is room. Messages that only describe the moment are dropped.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<Manager>,
    /// Whether the service manager keeps descriptors for the service.
    has_store: bool,
    /// Messages that must arrive and have not been sent yet, the oldest first.
    queue: VecDeque<Message>,
    /// When to send again, and how long that is after the last attempt.
    retry: Option<(Instant, Duration)>,
}

/// Where the service manager listens.
#[derive(Debug)]
struct Manager {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

#[derive(Debug)]
struct Message {
    text: String,
    /// Sent along with the message.
    descriptor: Option<OwnedFd>,
}

impl Notifier {
    /// For the service manager that `NOTIFY_SOCKET` names, if it is set.
    pub fn from_environment() -> Self {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let manager = name.and_then(|name| {
            Manager::at(&name)
                .inspect_err(|error| {
                    tracing::warn!(error = error.to_string(), "service manager cannot be notified");
                })
                .ok()
        });
        let has_store = manager.is_some() && has_store();
        Self { manager, has_store, queue: VecDeque::new(), retry: None }
    }

    /// For a test's service manager, which has a store.
    #[cfg(test)]
    pub(crate) fn with_store(manager: &testkit::ServiceManager) -> Self {
        let manager = Manager::at(manager.address().as_ref()).expect("an address that can be used");
        Self { manager: Some(manager), has_store: true, queue: VecDeque::new(), retry: None }
    }

    /// The service is up, or has reloaded its settings.
    pub fn ready(&mut self) {
        let text = "READY=1";
        if self.queue.back().is_none_or(|last| last.text != text) {
            self.queue(text.to_owned(), None);
        }
    }

    /// Settings are being read. [`Notifier::ready`] follows.
    pub fn reloading(&mut self) {
        if self.queue.len() < MAX_QUEUED {
            let now = clock_gettime(ClockId::Monotonic);
            self.queue(format!("RELOADING=1\nMONOTONIC_USEC={}{:06}", now.tv_sec, now.tv_nsec / 1000), None);
        }
    }

    /// The service is stopping, and will take at most `patience`.
    pub fn stopping(&mut self, patience: Duration) {
        self.queue(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", patience.as_micros()), None);
    }

    /// Asks the service manager to keep `descriptor` under `name` beyond the end of this process. Returns whether it will:
    /// not if the service has no file descriptor store.
    pub fn store(&mut self, name: &str, descriptor: OwnedFd) -> bool {
        if self.has_store {
            self.queue(format!("FDSTORE=1\nFDNAME={name}"), Some(descriptor));
        }
        self.has_store
    }

    /// Asks the service manager to close all descriptors that it keeps under `name`.
    pub fn forget(&mut self, name: &str) {
        if self.has_store {
            self.queue(format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
        }
    }

    /// One short line for `systemctl status`. Returns whether it was sent.
    pub fn status(&mut self, line: &str) -> bool {
        self.send_or_drop(format!("STATUS={line}"))
    }

    /// The service is alive.
    pub fn watchdog(&mut self) {
        self.send_or_drop("WATCHDOG=1".to_owned());
    }

    /// Waits until it is time to send the queued messages again, and sends them. Without any, waits forever.
    pub async fn resend(&mut self) {
        match self.retry {
            Some((at, _)) => {
                sleep_until(at).await;
                self.send_queued();
            }
            None => std::future::pending().await,
        }
    }

    fn queue(&mut self, text: String, descriptor: Option<OwnedFd>) {
        if self.manager.is_some() {
            self.queue.push_back(Message { text, descriptor });
            self.send_queued();
        }
    }

    fn send_or_drop(&mut self, text: String) -> bool {
        self.send_queued();
        let message = Message { text, descriptor: None };
        self.queue.is_empty() && self.manager.as_ref().is_none_or(|manager| manager.send(&message).is_ok())
    }

    fn send_queued(&mut self) {
        let Some(manager) = &self.manager else { return };
        while let Some(message) = self.queue.front() {
            if let Err(error) = manager.send(message) {
                let wait = self.retry.map_or(FIRST_RETRY, |(_, wait)| LONGEST_RETRY.min(wait * 2));
                self.retry = Some((Instant::now() + wait, wait));
                tracing::debug!(error = error.to_string(), "service manager not notified");
                return;
            }
            self.queue.pop_front();
            self.retry = None;
        }
    }
}

/// Whether the service manager keeps descriptors for this service. systemd sets the variable since 254; for older
/// versions, the unit does.
pub(crate) fn has_store() -> bool {
    let capacity = env::var("FDSTORE").ok().and_then(|capacity| capacity.parse::<u32>().ok());
    capacity.is_some_and(|capacity| capacity > 0)
}

impl Manager {
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(name)?,
            _ => {
                let problem = format!("NOTIFY_SOCKET={}: expected a path or @ and a name", name.display());
                return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
            }
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        let descriptors = message.descriptor.as_ref().map(|descriptor| [descriptor.as_fd()]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(descriptors) = &descriptors {
            let has_room = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(has_room, "there is room for one descriptor");
        }
        let text = [IoSlice::new(message.text.as_bytes())];
        sendmsg_addr(&self.socket, &self.address, &text, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use testkit::ServiceManager;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_of_state_are_sent_in_order_once_there_is_room() {
        let manager = ServiceManager::new();
        manager.fill();
        let mut notifier = Notifier::with_store(&manager);
        notifier.ready();
        assert!(!notifier.status("dropped"));
        notifier.watchdog();
        notifier.reloading();
        notifier.ready();
        notifier.ready();
        notifier.stopping(Duration::from_secs(3));
        notifier.resend().await;
        assert_eq!(notifier.queue.len(), 4, "there is no room yet, and a second READY in a row is left out");
        manager.empty();
        notifier.resend().await;
        assert!(notifier.queue.is_empty());
        assert!(notifier.status("sent"));
        let states = [(); 5].map(|()| manager.next_message());
        assert_eq!(states[0], "READY=1");
        assert!(states[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{states:?}");
        assert_eq!(states[2], "READY=1");
        assert_eq!(states[3], "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000");
        assert_eq!(states[4], "STATUS=sent");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_become_rarer_and_the_queue_is_bounded() {
        let manager = ServiceManager::new();
        manager.fill();
        let mut notifier = Notifier::with_store(&manager);
        let begun = Instant::now();
        for _ in 0..1000 {
            notifier.reloading();
            notifier.ready();
        }
        assert!(notifier.queue.len() <= MAX_QUEUED + 1, "{}", notifier.queue.len());
        assert_eq!(notifier.queue.back().unwrap().text, "READY=1");
        for _ in 0..60 {
            notifier.resend().await;
        }
        assert!(begun.elapsed() > Duration::from_secs(50), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_descriptor_is_sent_with_its_message() {
        let manager = ServiceManager::new();
        let (stored, other) = UnixDatagram::pair().unwrap();
        assert!(Notifier::with_store(&manager).store("servidor", stored.into()));
        let mut text = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [io::IoSliceMut::new(&mut text)];
        let received = recvmsg(manager.socket(), buffers, &mut ancillary, RecvFlags::empty()).unwrap();
        assert_eq!(&text[..received.bytes], b"FDSTORE=1\nFDNAME=servidor");
        let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = ancillary.drain().next() else {
            panic!("no descriptor came");
        };
        UnixDatagram::from(descriptors.next().unwrap()).send(b"alive").unwrap();
        assert_eq!(other.recv(&mut text).unwrap(), 5);
    }
}
