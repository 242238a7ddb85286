//! A request costs no allocation: the server's threads count their own, with logs and metrics at work.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use daemon::listener;
use daemon::logging::Logging;
use daemon::notify::{Inherited, Watchdog};
use daemon::settings::start;
use servidor::context::Context;
use servidor::settings::{Own, PROGRAM};
use testkit::Peer;
use tokio::runtime::Builder;
use tokio::sync::watch;

/// The system's allocator, which counts what the threads marked by [`IS_COUNTED`] ask of it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

#[expect(unsafe_code, reason = "a global allocator is unsafe by its trait; this one only passes calls on")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no mark left; nothing of it is counted.
        if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
            ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Serves on threads of its own, whose allocations are counted, until the process ends.
fn serve() -> SocketAddr {
    let arguments = ["servidor", "--listen", "127.0.0.1:0", "--log-events-per-second", "0"];
    let settings = start::<Own>(&PROGRAM, arguments.map(Into::into)).expect("settings in order").settings;
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let _logging = Logging::start(&settings.common);
        let mut builder = Builder::new_current_thread();
        // The event loops' threads are the runtime's.
        let builder = builder.enable_all().on_thread_start(|| IS_COUNTED.set(true));
        let runtime = builder.build().expect("a runtime");
        runtime.block_on(async {
            let mut inherited = Inherited::from_environment().expect("none");
            let addresses = settings.own.listen.as_slice();
            let listeners =
                listener::open(&mut inherited, "servidor", "listen", addresses, true).expect("a free port");
            sender.send(listeners[0].address).expect("the test waits");
            let context = Context::new(&settings);
            let watchdog = Watchdog::from_environment();
            let (_unchanged, settings) = watch::channel(Arc::new(settings));
            servidor::run(listeners, settings, context, &watchdog).expect("room for an event loop").await;
        });
    });
    address.recv().expect("it listens")
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
    // The thread's buffers, and whatever else is made once.
    ask(&mut peer, 100, 1);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    assert!(before > 0, "nothing was counted: not even the connection itself");
    ask(&mut peer, 2000, 1);
    ask(&mut peer, 100, 50);
    let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert_eq!(allocations, 0, "in 35,000 requests, 2,100 batches");
}
