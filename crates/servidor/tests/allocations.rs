//! A request allocates nothing. The allocations of each thread are counted while logs and metrics are active.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use daemon::listener;
use daemon::logging::Logging;
use daemon::settings::start;
use daemon::systemd::watchdog::Watchdog;
use servidor::settings::{Own, PROGRAM};
use servidor::{Context, Serving};
use testkit::Peer;

/// The system's allocator, with a count of the allocations of each thread.
struct Counting;

/// The first threads of this process.
static THREADS: [Thread; 16] =
    [const { Thread { id: AtomicI32::new(0), allocations: AtomicU64::new(0) } }; 16];

struct Thread {
    id: AtomicI32,
    allocations: AtomicU64,
}

impl Thread {
    /// Whether this entry belongs to thread `id`. A free entry is assigned to it.
    fn is_of(&self, id: i32) -> bool {
        let claimed = self.id.compare_exchange(0, id, Ordering::SeqCst, Ordering::SeqCst);
        claimed.is_ok() || claimed == Err(id)
    }
}

/// The number of allocations of all threads of this name.
fn allocations_of(name: &str) -> u64 {
    let is_called_so = |thread: &&Thread| {
        let id = thread.id.load(Ordering::SeqCst);
        let known = fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        known.is_ok_and(|known| known.trim_end() == name)
    };
    let threads = THREADS.iter().filter(is_called_so);
    threads.map(|thread| thread.allocations.load(Ordering::SeqCst)).sum()
}

#[expect(unsafe_code, reason = "a global allocator is unsafe by its trait; this one only passes calls on")]
// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        if let Some(thread) = THREADS.iter().find(|thread| thread.is_of(id)) {
            thread.allocations.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller promises what the system's allocator requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Serves on its own threads until the process ends.
fn serve() -> SocketAddr {
    // One event loop: a second one might start late and allocate its buffers.
    let arguments =
        ["servidor", "--listen", "127.0.0.1:0", "--worker-threads", "1", "--log-events-per-second", "0"];
    let settings = start::<Own>(&PROGRAM, arguments.map(Into::into)).expect("settings in order").settings;
    // Logs go on being written by its thread.
    std::mem::forget(Logging::start(&settings.common));
    let addresses = settings.own.listen.as_slice();
    let listeners = listener::open_own("listen", addresses).expect("a free port");
    let address = listeners[0].address;
    let (context, watchdog) = (Context::new(&settings), Watchdog::from_environment());
    Serving::start(listeners, &settings, &context, &watchdog).expect("room for an event loop");
    address
}

fn ask(peer: &mut Peer, batches: u64, depth: usize) {
    let requests = "-123456789012345678901234567890\n7\n8\n\nx\n".repeat(depth);
    for _ in 0..batches {
        peer.send(&requests);
        for expected in
            ["-123456789012345678901234567890\n", "ÍMPAR\n", "PAR\n", "ERRO", "ERRO"].repeat(depth)
        {
            let reply = peer.line();
            assert!(reply.starts_with(expected), "{expected}: {reply}");
        }
    }
}

#[test]
fn a_request_allocates_nothing() {
    let mut peer = Peer::connect(serve());
    // The thread's buffers, and whatever else is allocated once.
    ask(&mut peer, 100, 1);
    let before = allocations_of("event loop");
    assert!(before > 0, "nothing was counted: not even the connection itself");
    ask(&mut peer, 2000, 1);
    ask(&mut peer, 100, 50);
    let allocations = allocations_of("event loop") - before;
    assert_eq!(allocations, 0, "in 35,000 requests, 2,100 batches");
}
