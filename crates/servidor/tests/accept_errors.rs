//! Errors of accept(2) and epoll_ctl(2), injected by strace: persistent ones pause the listener, those of one connection
//! do not.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{start, start_inheriting};
use socket2::SockRef;
use tempfile::TempDir;
use testkit::{Daemon, Peer, Signal, let_pass, scrape, send_signal, tool, wait_for_exit, wait_until};

/// How long a persistent error lasts.
const PERIOD: Duration = Duration::from_secs(1);
/// Far more calls than there is time for with pauses, and far fewer than without.
const MOST_CALLS_A_SECOND: u128 = 200;

/// A tracer of a daemon, which makes one of its system calls fail.
struct Tracer {
    strace: Child,
    folder: TempDir,
}

impl Tracer {
    /// Attaches to every thread of `daemon`; the calls that `fault` names fail as it says. `None` if there is no strace.
    fn attach(daemon: &Daemon, fault: &str) -> Option<Self> {
        let program = tool("strace")?;
        daemon.wait_for("listening");
        let folder = tempfile::tempdir().expect("a folder for the trace");
        let strace = Command::new(program)
            .args(["-f", "-qq", "-p", &daemon.id().to_string()])
            .args(["-e", "trace=accept4,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2"])
            .args(["-e", &format!("inject={fault}"), "-o"])
            .arg(folder.path().join("trace"))
            .stdout(Stdio::null())
            .spawn()
            .expect("strace starts");
        wait_until("strace has attached to all threads", || all_traced(daemon));
        Some(Self { strace, folder })
    }

    fn trace(&self) -> String {
        fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default()
    }

    /// Waits until a call has failed.
    fn wait_for_the_fault(&self) {
        wait_until("a call has failed", || self.trace().contains("(INJECTED)"));
    }

    /// Detaches, and returns the trace.
    fn detach(mut self) -> String {
        send_signal(&self.strace, Signal::INT);
        wait_for_exit(&mut self.strace);
        self.trace()
    }
}

/// Whether each thread has a tracer: proc_pid_status(5).
fn all_traced(daemon: &Daemon) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("a child of this process");
    let mut statuses =
        threads.filter_map(|thread| fs::read_to_string(thread.expect("an entry").path().join("status")).ok());
    statuses.all(|status| !status.contains("\nTracerPid:\t0\n"))
}

/// A persistent error pauses the listener. It is counted and logged, and the daemon recovers when it is gone.
fn assert_paused_for(error: &str) {
    let daemon = start(&[]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    let Some(tracer) = Tracer::attach(&daemon, &format!("accept4:error={error}:when=1+")) else { return };
    let mut waiting = Peer::connect(daemon.address());
    waiting.send("3\n");
    tracer.wait_for_the_fault();
    let began = Instant::now();
    let before = tracer.trace().matches("accept4(").count();
    let_pass(began, PERIOD);
    assert_eq!(served.ask("4\n"), "PAR\n", "open connections are served meanwhile");
    let calls = tracer.trace().matches("accept4(").count() - before;
    let milliseconds = began.elapsed().as_millis();
    tracer.detach();
    let most = MOST_CALLS_A_SECOND * milliseconds / 1000;
    assert!(calls as u128 <= most, "{error}: {calls} calls in {milliseconds} ms");

    assert_eq!(waiting.line(), "ÍMPAR\n");
    let metrics = scrape(daemon.metrics_address());
    assert!(metrics.count("servidor_accept_errors_total", &[]) > 0, "{error} is counted");
    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
}

#[test]
fn eperm_pauses_the_listener() {
    assert_paused_for("EPERM");
}

#[test]
fn eacces_pauses_the_listener() {
    assert_paused_for("EACCES");
}

#[test]
fn a_network_that_stays_down_pauses_the_listener() {
    assert_paused_for("ENETDOWN");
}

#[test]
fn running_out_of_files_pauses_the_listener() {
    assert_paused_for("EMFILE");
}

/// An error of the first connection in the queue: the next connection is accepted without a pause.
fn assert_not_paused_for(error: &str) {
    let daemon = start(&["--worker-threads", "1"]);
    let Some(tracer) = Tracer::attach(&daemon, &format!("accept4:error={error}:when=1")) else { return };
    let mut peer = Peer::connect(daemon.address());
    assert_eq!(peer.ask("2\n"), "PAR\n");
    let trace = tracer.detach();

    let failed = trace.lines().find(|line| line.contains("(INJECTED)")).expect("the fault was injected");
    let thread = failed.split(' ').next().expect("strace begins with the thread");
    let thread_lines = trace.lines().filter(|line| line.split(' ').next() == Some(thread));
    let after = thread_lines.skip_while(|line| *line != failed).skip(1);
    let between: Vec<&str> = after.take_while(|line| !line.contains("accept4(")).collect();
    assert!(!between.iter().any(|line| is_pause(line)), "{error}: {between:#?}");
}

/// Whether a line of the trace is a wait that ended by its timeout: `…[], 256, 100, NULL, 0) = 0`.
fn is_pause(line: &str) -> bool {
    let Some((_, arguments)) = line.split_once("[], ") else { return false };
    let (_, timeout) = arguments.split_once(", ").expect("the number of events is not the last argument");
    !["0,", "0)", "{tv_sec=0, tv_nsec=0}"].iter().any(|zero| timeout.starts_with(zero))
}

#[test]
fn a_protocol_error_of_one_connection_delays_no_other() {
    assert_not_paused_for("EPROTO");
}

#[test]
fn a_host_that_is_down_delays_no_other() {
    assert_not_paused_for("EHOSTDOWN");
}

#[test]
fn a_host_off_the_network_delays_no_other() {
    assert_not_paused_for("ENONET");
}

#[test]
fn a_connection_that_was_aborted_in_the_queue_delays_no_other() {
    assert_not_paused_for("ECONNABORTED");
}

#[test]
fn a_listener_that_cannot_be_watched_is_tried_again() {
    let everyone = ["--allow", "0.0.0.0/0,::/0"];
    let daemon = start(&[&["--max-connections", "1", "--worker-threads", "1"], &everyone[..]].concat());
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    // The listener is not watched while the only permit is taken, since there are no strangers to look for.
    let Some(tracer) = Tracer::attach(&daemon, "epoll_ctl:error=ENOSPC:when=1") else { return };
    let mut waiting = Peer::connect(daemon.address());
    drop(served);
    assert_eq!(waiting.ask("3\n"), "ÍMPAR\n");
    let trace = tracer.detach();
    assert_eq!(trace.matches("(INJECTED)").count(), 1, "{trace}");

    let failed = daemon.wait_for("accept failed");
    assert_eq!(failed["level"], "WARN", "{failed}");
    let expected = format!("cannot watch {}: No space left on device (os error 28)", daemon.address());
    assert_eq!(failed["error"], expected.as_str(), "{failed}");
    let metrics = scrape(daemon.metrics_address());
    assert_eq!(metrics.count("servidor_accept_errors_total", &[]), 1);
}

#[test]
fn a_listener_that_was_shut_down_from_outside_ends_the_daemon() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let handed_over = listener.try_clone().expect("a socket can be cloned");
    let mut daemon = start_inheriting(handed_over.into(), &[]);
    let mut served = Peer::connect(daemon.address());
    assert_eq!(served.ask("2\n"), "PAR\n");
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both).expect("it listens");
    assert_eq!(daemon.wait().code(), Some(1), "a restart binds it anew");
    let failed = daemon.wait_for("failed");
    assert_eq!(failed["level"], "ERROR", "{failed}");
}
