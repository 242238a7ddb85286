//! What a service manager passes on: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, FDSTORE, NOTIFY_SOCKET and the watchdog's variables, with real
//! descriptors behind them, against a slow reference by sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
//!
//! The input has a letter for each descriptor from 3 on, and then variables, with a zero byte before each. `$PID` in a value is the number
//! of this process.
#![no_main]

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::time::{Duration, Instant};

use daemon::systemd::descriptors::{Descriptors, Origin};
use daemon::systemd::notifier::Notifier;
use daemon::systemd::watchdog::Watchdog;
use libfuzzer_sys::fuzz_target;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, socket};

const NAMES: [&str; 2] = ["servidor", "metrics"];
const VARIABLES: [&str; 7] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];
/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// No more are passed.
const MOST: usize = 6;
/// Descriptors of this fuzzer are beyond those that are ever passed, and these are closed.
const OWN: RawFd = 100;

/// A descriptor of each kind, to be passed.
struct Kinds {
    listening: TcpListener,
    blocking: TcpListener,
    ipv6: Option<TcpListener>,
    others: [OwnedFd; 4],
}

/// What is passed under a number.
#[derive(Clone, Copy)]
struct Passed {
    original: RawFd,
    /// Where it listens, and whether it does not block; `None` if it is no listening TCP socket.
    listening: Option<(SocketAddr, bool)>,
}

impl Kinds {
    fn new() -> Self {
        let listening = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listening.set_nonblocking(true).expect("a socket");
        let ipv6 = TcpListener::bind("[::1]:0").ok();
        if let Some(ipv6) = &ipv6 {
            ipv6.set_nonblocking(true).expect("a socket");
        }
        let name = format!("fuzz-descriptors-{}", std::process::id());
        let name = UnixAddress::from_abstract_name(name).expect("a short name");
        let others = [
            UdpSocket::bind("127.0.0.1:0").expect("a free port").into(),
            File::open("/dev/null").expect("it is there").into(),
            UnixListener::bind_addr(&name).expect("a free name").into(),
            socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket"),
        ];
        Self {
            listening: away(listening.into()).into(),
            blocking: away(TcpListener::bind("127.0.0.1:0").expect("a free port").into()).into(),
            ipv6: ipv6.map(|ipv6| away(ipv6.into()).into()),
            others: others.map(away),
        }
    }

    fn passed(&self, letter: u8) -> Option<Passed> {
        let listener = |listener: &TcpListener, is_nonblocking| Passed {
            original: listener.as_raw_fd(),
            listening: Some((listener.local_addr().expect("it is bound"), is_nonblocking)),
        };
        let other = |index: usize| Passed { original: self.others[index].as_raw_fd(), listening: None };
        match letter {
            b'n' => Some(listener(&self.listening, true)),
            b'b' => Some(listener(&self.blocking, false)),
            b'6' => self.ipv6.as_ref().map(|ipv6| listener(ipv6, true)),
            b'u' => Some(other(0)),
            b'f' => Some(other(1)),
            b'x' => Some(other(2)),
            b'c' => Some(other(3)),
            _ => None,
        }
    }
}

/// The same beyond the descriptors that are passed.
fn away(descriptor: OwnedFd) -> OwnedFd {
    fcntl_dupfd_cloexec(&descriptor, OWN).expect("numbers enough")
}

/// The numbers of descriptors that are passed, and of those that the daemon opens meanwhile.
fn numbers() -> impl Iterator<Item = RawFd> {
    FIRST..FIRST + i32::try_from(MOST).expect("few") + 2
}

/// Closes these numbers, and returns copies of what was there: libFuzzer's own files.
fn set_aside() -> Vec<(RawFd, OwnedFd)> {
    let mut files = Vec::new();
    for number in numbers() {
        // SAFETY: it is only used before the next line, which closes it.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(copy) = fcntl_dupfd_cloexec(file, OWN) {
            // SAFETY: its owner does not run until it is put back.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            files.push((number, copy));
        }
    }
    files
}

/// Closes what was passed and not adopted, and puts back what was there before.
fn put_back(files: Vec<(RawFd, OwnedFd)>) {
    drop(set_aside());
    for (number, copy) in files {
        let file = fcntl_dupfd_cloexec(&copy, number).expect("numbers enough");
        assert_eq!(file.as_raw_fd(), number, "it was closed");
        let _put_back = file.into_raw_fd();
    }
}

fn pass(passed: &[Option<Passed>]) {
    for (number, passed) in (FIRST..).zip(passed) {
        let Some(Passed { original, .. }) = passed else { continue };
        // SAFETY: the original lives as long as the fuzzer.
        let original = unsafe { BorrowedFd::borrow_raw(*original) };
        let copy = fcntl_dupfd_cloexec(original, number).expect("numbers enough");
        assert_eq!(copy.as_raw_fd(), number, "it was closed");
        fcntl_setfd(&copy, FdFlags::empty()).expect("it is open");
        let _passed = copy.into_raw_fd();
    }
}

fn set_variables(variables: &HashMap<&str, OsString>) {
    for name in VARIABLES {
        // SAFETY: no other thread of the fuzzer reads the environment.
        unsafe {
            match variables.get(name) {
                Some(value) => std::env::set_var(name, value),
                None => std::env::remove_var(name),
            }
        }
    }
}

/// Name, address and origin of what is inherited; `None` if that is an error.
fn reference(
    text: &dyn Fn(&str) -> Option<String>,
    passed: &[Option<Passed>],
) -> Option<Vec<(String, SocketAddr, Origin)>> {
    let Some(pid) = text("LISTEN_PID") else { return Some(Vec::new()) };
    if pid.parse::<u32>().ok()? != std::process::id() {
        return Some(Vec::new());
    }
    let Some(count) = text("LISTEN_FDS") else { return Some(Vec::new()) };
    let count = usize::try_from(count.parse::<u32>().ok()?).ok()?;
    if count == 0 {
        return Some(Vec::new());
    }
    let passed: Vec<Passed> = passed.get(..count)?.iter().copied().collect::<Option<_>>()?;
    let names = text("LISTEN_FDNAMES");
    let names: Vec<String> = match &names {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec!["unknown".to_owned(); count],
    };
    if names.len() != count {
        return None;
    }
    let has_store = text("FDSTORE").is_some_and(|text| text.parse::<u32>().is_ok_and(|most| most > 0));
    let is_unnamed = |name: &String| name.is_empty() || name == "unknown" || name.ends_with(".socket");
    let is_single = names.iter().filter(|name| is_unnamed(name)).count() == 1;
    let mut all = Vec::new();
    for (name, passed) in names.into_iter().zip(passed) {
        let (address, is_nonblocking) = passed.listening?;
        let is_stored = has_store && is_nonblocking && NAMES.contains(&&name[..]);
        let origin = if is_stored { Origin::Store } else { Origin::Operator };
        let name = if is_single && is_unnamed(&name) { NAMES[0].to_owned() } else { name };
        all.push((name, address, origin));
    }
    Some(all)
}

/// Whether the daemon finds the service manager's socket.
fn has_manager(name: Option<&OsStr>) -> bool {
    match name.map(OsStr::as_bytes) {
        Some([b'@' | b'/', rest @ ..]) => rest.len() < 108,
        _ => false,
    }
}

fn check_watchdog(text: &dyn Fn(&str) -> Option<String>) {
    let pid = text("WATCHDOG_PID").and_then(|pid| pid.parse::<u32>().ok());
    let timeout = text("WATCHDOG_USEC").and_then(|text| text.parse::<u64>().ok()).filter(|&time| time > 0);
    let is_ours = pid.is_none_or(|pid| pid == std::process::id());
    let period = timeout.filter(|_| is_ours).map(|time| Duration::from_micros(time) / 4);
    let now = Instant::now();
    let heartbeat = Watchdog::from_environment().heartbeat();
    assert_eq!(heartbeat.due_after(now), period.map(|period| now + period));
}

thread_local! {
    static KINDS: Kinds = Kinds::new();
}

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|&byte| byte == 0);
    let letters = parts.next().unwrap_or_default();
    let mut variables = HashMap::new();
    for part in parts {
        let name = VARIABLES.iter().find(|name| part.starts_with(format!("{name}=").as_bytes()));
        let Some(name) = name else { continue };
        let value = &part[name.len() + 1..];
        let own = std::process::id().to_string();
        let value = if value == b"$PID" { own.into() } else { OsString::from_vec(value.to_vec()) };
        variables.insert(*name, value);
    }
    KINDS.with(|kinds| {
        let files = set_aside();
        // Each at most once: copies would block or not block together.
        let is_first = |index: usize| !letters[..index].contains(&letters[index]);
        let passed = |index: usize| kinds.passed(letters[index]).filter(|_| is_first(index));
        let passed: Vec<_> = (0..letters.len().min(MOST)).map(passed).collect();
        pass(&passed);
        kinds.blocking.set_nonblocking(false).expect("a socket");
        set_variables(&variables);
        let text = |name: &str| variables.get(name).and_then(|value| value.to_str().map(str::to_owned));
        let expected = reference(&text, &passed);
        match Descriptors::from_environment(&NAMES) {
            Ok(Descriptors(sockets)) => {
                let found = sockets.iter().map(|one| (one.name.clone(), one.address, one.origin)).collect();
                assert_eq!(Some::<Vec<_>>(found), expected);
                for socket in &sockets {
                    let flags = fcntl_getfd(&socket.socket).expect("it is open");
                    assert!(flags.contains(FdFlags::CLOEXEC), "a child would inherit it");
                    let flags = rustix::fs::fcntl_getfl(&socket.socket).expect("it is open");
                    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
                }
            }
            Err(error) => assert_eq!(expected, None, "{error}"),
        }
        let notifier = format!("{:?}", Notifier::from_environment());
        let has_manager = has_manager(variables.get("NOTIFY_SOCKET").map(OsString::as_os_str));
        assert_eq!(notifier.contains("manager: Some("), has_manager, "{notifier}");
        let capacity = text("FDSTORE").and_then(|text| text.parse::<u32>().ok());
        let has_store = has_manager && capacity.is_some_and(|capacity| capacity > 0);
        assert_eq!(notifier.contains("has_store: true"), has_store, "{notifier}");
        check_watchdog(&text);
        put_back(files);
    });
});
