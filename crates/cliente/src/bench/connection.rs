//! One connection of the load: what is under way on it, and what became of it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::{MAX_REPLY, Verdict, answer, judge};
use socket2::{Domain, Protocol, Socket, Type};

use super::Load;
use super::mix::{Mix, Position};
use super::tally::{Tally, WrongReply, record};
use super::work::Work;
use crate::round::reason::{Reason, reason_of};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    /// Its turn to be opened will come.
    Waiting,
    Connecting,
    Open,
}

/// Whether any of the connections that were opened one after the other got a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Untried,
    /// A reply was waited for until the timeout, and none has come yet.
    Starved,
    Served,
}

/// One connection, which is opened again whenever it has ended.
#[derive(Debug)]
pub(super) struct Connection {
    index: usize,
    pub(super) state: State,
    socket: Option<TcpStream>,
    /// When its requests began, in a closed loop: sent, or, on a fresh connection, the connecting begun.
    started: Instant,
    /// When the unanswered requests were sent, and how many of them at a time.
    sent: VecDeque<(Instant, usize)>,
    position: Position,
    /// Requests sent and not answered.
    pub(super) unanswered: usize,
    /// Whether a reply has come on the socket that it has now.
    pub(super) is_served: bool,
    service: Service,
    /// Requests done with, one way or the other.
    done: u64,
    /// Requests that are to be sent.
    pub(super) due: usize,
    /// Whether the requests of a closed loop are measured.
    pub(super) is_measured: bool,
    /// Requests that the socket did not take yet.
    unwritten: Vec<u8>,
    /// The beginning of a reply that comes after a wrong one, or is wrong itself.
    held: Vec<u8>,
}

impl Connection {
    /// `number` is its number among those of all threads, `index` among those of its own.
    pub(super) fn new(number: usize, index: usize, now: Instant) -> Self {
        Self {
            index,
            state: State::Closed,
            socket: None,
            started: now,
            sent: VecDeque::new(),
            position: Mix::start(number),
            unanswered: 0,
            is_served: false,
            service: Service::Untried,
            done: 0,
            due: 0,
            is_measured: false,
            unwritten: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Whether there is something to send or to wait for.
    pub(super) fn is_at_work(&self) -> bool {
        self.unanswered > 0 || self.due > 0
    }

    /// Begins to connect. When the socket is ready for the first time, it has connected or failed.
    pub(super) fn connect(&mut self, address: SocketAddr, keep: bool) -> io::Result<&TcpStream> {
        self.started = Instant::now();
        self.socket = None;
        self.state = State::Connecting;
        Ok(self.socket.insert(begin_to_connect(address, keep)?))
    }

    /// The socket is ready, or failed: the connection is made, or not.
    pub(super) fn connected(&mut self, failed: bool, work: &mut Work) -> Result<(), Reason> {
        if failed {
            self.check_for_error()?;
        }
        self.state = State::Open;
        record(&mut work.tally.connect, self.started.elapsed(), 1);
        work.tally.connections += 1;
        Ok(())
    }

    fn check_for_error(&self) -> Result<(), Reason> {
        let error = self.socket.as_ref().and_then(|socket| socket.take_error().transpose());
        match error {
            Some(Ok(error) | Err(error)) => Err(reason_of(&error, Reason::ConnectTimeout)),
            None => Ok(()),
        }
    }

    /// Asks the kernel what has become of the socket, whether or not that has been reported.
    pub(super) fn catch_up(&mut self, work: &mut Work) -> Result<(), Reason> {
        if self.state == State::Connecting {
            self.check_for_error()?;
            if self.socket.as_ref().is_none_or(|socket| socket.peer_addr().is_err()) {
                return Ok(());
            }
            self.connected(false, work)?;
        }
        self.receive(work, false)
    }

    /// When to give up what is under way, and the reason to give then.
    pub(super) fn deadline(&self, load: &Load) -> Option<(Instant, Reason)> {
        match self.state {
            State::Connecting => Some((self.started + load.connect_timeout, Reason::ConnectTimeout)),
            // Replies come in the order of the requests, so the oldest decides.
            State::Open => {
                self.sent.front().map(|&(sent, _)| (sent + load.reply_timeout, Reason::ReplyTimeout))
            }
            State::Closed | State::Waiting => None,
        }
    }

    /// Why to give up what is under way, if its deadline has passed.
    pub(super) fn overdue(&self, load: &Load, now: Instant) -> Option<Reason> {
        self.deadline(load).filter(|&(deadline, _)| deadline <= now).map(|(_, reason)| reason)
    }

    /// Sends what is due, as far as the depth allows, or the rest of what the socket did not take.
    pub(super) fn send(&mut self, work: &Work) -> Result<(), Reason> {
        let Some(mut socket) = self.socket.as_ref() else { return Ok(()) };
        let batch = if self.unwritten.is_empty() {
            let count = self.due.min(work.load.pipeline - self.unanswered);
            if count == 0 {
                return Ok(());
            }
            let batch = work.mix.requests(self.position, self.unanswered, count);
            self.due -= count;
            // Nothing may come between the clock and the system call.
            let now = Instant::now();
            if work.load.keep {
                self.started = now;
            }
            self.sent.push_back((now, count));
            self.unanswered += count;
            batch
        } else {
            &self.unwritten
        };
        let written = match socket.write(batch) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(reason_of(&error, Reason::ReplyTimeout)),
        };
        if written < batch.len() || !self.unwritten.is_empty() {
            self.unwritten = batch[written..].to_vec();
        }
        Ok(())
    }

    /// Reads and checks what has come; `to_the_end` says that the end of the stream has.
    pub(super) fn receive(&mut self, work: &mut Work, to_the_end: bool) -> Result<(), Reason> {
        let mut scratch = mem::take(&mut work.scratch);
        let outcome = self.receive_in(&mut scratch, work, to_the_end);
        work.scratch = scratch;
        outcome
    }

    fn receive_in(&mut self, scratch: &mut [u8], work: &mut Work, to_the_end: bool) -> Result<(), Reason> {
        loop {
            let Some(mut socket) = self.socket.as_ref() else { return Ok(()) };
            match socket.read(scratch) {
                Ok(0) => return Err(Reason::Closed),
                Ok(count) => {
                    self.take(&scratch[..count], work, Instant::now())?;
                    // A short read took all that was there; what comes later is another event.
                    if count < scratch.len() && !to_the_end {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(reason_of(&error, Reason::ReplyTimeout)),
            }
        }
    }

    fn take(&mut self, received: &[u8], work: &mut Work, now: Instant) -> Result<(), Reason> {
        if self.held.is_empty()
            && let Some((count, position)) = work.mix.check(self.position, self.unanswered, received)
        {
            self.position = position;
            self.right(count, work, now);
            return Ok(());
        }
        self.take_by_line(received, work, now)
    }

    /// Something is wrong: finds what. The other replies are judged each on its own.
    fn take_by_line(&mut self, received: &[u8], work: &mut Work, now: Instant) -> Result<(), Reason> {
        if self.held.is_empty() {
            self.held.extend_from_slice(work.mix.begun_reply(self.position));
        }
        self.held.extend_from_slice(received);
        let held = mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let verdict = judge(work.mix.number(self.position), &rest[..=end], false);
            let is_error = verdict == Verdict::ServerError;
            if !is_error && (verdict != Verdict::Right || self.unanswered == 0) {
                self.note_wrong(&rest[..end], work);
            }
            if self.unanswered == 0 {
                // A server over its limit says so unasked.
                return Err(if is_error { Reason::ServerError } else { Reason::WrongReply });
            }
            self.position = Mix::skip(self.position);
            self.service = Service::Served;
            match verdict {
                Verdict::Right => self.right(1, work, now),
                Verdict::ServerError => self.failed(Reason::ServerError, 1, &mut work.tally),
                _ => self.failed(Reason::WrongReply, 1, &mut work.tally),
            }
            rest = &rest[end + 1..];
        }
        if rest.len() >= MAX_REPLY || (self.unanswered == 0 && !rest.is_empty()) {
            self.note_wrong(rest, work);
            return Err(Reason::WrongReply);
        }
        self.held = rest.to_vec();
        Ok(())
    }

    /// Keeps the first wrong reply for the report.
    fn note_wrong(&self, received: &[u8], work: &mut Work) {
        if work.tally.first_wrong.is_none() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let number = (self.unanswered > 0).then(|| work.mix.number(self.position));
            let asked = number.map(|number| (number.as_str().to_owned(), text(answer(number))));
            let received = text(&received[..received.len().min(MAX_REPLY)]);
            work.tally.first_wrong = Some(WrongReply { asked, received });
        }
    }

    fn right(&mut self, count: usize, work: &mut Work, now: Instant) {
        if count == 0 {
            return;
        }
        if let (Some(open_loop), Some(times)) = (work.open_loop, work.times) {
            for nth in self.done..self.done + count as u64 {
                let due = open_loop.due_on(self.index, nth);
                work.right(now - due, 1, due >= times.measured_from);
            }
        } else {
            work.right(now - self.started, count, self.is_measured);
        }
        work.tally.last_reply = Some(now);
        self.service = Service::Served;
        self.answered(count);
    }

    fn failed(&mut self, reason: Reason, count: usize, tally: &mut Tally) {
        tally.failed(reason, count);
        self.answered(count);
    }

    fn answered(&mut self, mut count: usize) {
        self.is_served |= count > 0;
        self.unanswered -= count;
        self.done += count as u64;
        while let Some((_, left)) = self.sent.front_mut() {
            if *left > count {
                *left -= count;
                return;
            }
            count -= *left;
            self.sent.pop_front();
        }
    }

    /// Closes the connection. What was asked on it gets no reply any more; why is `reason`.
    pub(super) fn lose(&mut self, reason: Reason, work: &mut Work) {
        let is_closed = self.state == State::Open && reason == Reason::Closed;
        if self.unanswered > 0 {
            for _ in 0..self.unanswered {
                self.position = Mix::skip(self.position);
            }
            if reason == Reason::ReplyTimeout && self.service == Service::Untried {
                self.service = Service::Starved;
            }
            self.failed(reason, self.unanswered, &mut work.tally);
        } else if is_closed && (self.is_served || self.due == 0) {
            // A server may do that. It may always end a connection that has had its one batch.
            work.tally.closed_unasked += u64::from(work.load.keep);
        } else {
            work.tally.failed(reason, 1);
            if work.load.requests.is_some() && work.open_loop.is_none() {
                // It takes the place of a request, so that a run against a dead server ends.
                match self.due {
                    0 => _ = work.quota.take(1),
                    _ => self.due -= 1,
                }
            }
        }
        self.close();
    }

    /// Closes the connection, with nothing under way.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.state = State::Closed;
        self.is_served = false;
        self.unwritten.clear();
        self.held.clear();
    }

    /// Closes the connection for good.
    pub(super) fn conclude(self, tally: &mut Tally) {
        tally.served += u64::from(self.service == Service::Served);
        tally.never_served += u64::from(self.service == Service::Starved);
    }
}

fn begin_to_connect(address: SocketAddr, keep: bool) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if keep {
        socket.set_tcp_nodelay(true)?;
    } else {
        // A fresh connection writes once, so nothing is held back. It ends by a reset, after its replies have been read:
        // whoever sends the first FIN keeps the port for a minute (TIME_WAIT), and a host has some 28,000 ports for each
        // server. A FIN right before the reset is no way out: a server that answers it in between makes it TIME_WAIT.
        socket.set_linger(Some(Duration::ZERO))?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}
