//! The system calls of the simulated kernel.

use std::net::SocketAddr;

use rustix::io::Errno;

use super::faults::{OF_ONE_CONNECTION, OF_WATCHING, accept_error};
use super::network::State;
use super::trace::{Bytes, trace};
use super::world::{Target, Watch, World};
use crate::kernel::{Interest, Ready};

/// An event loop that makes more calls than this without waiting is spinning.
const MOST_CALLS_WITHOUT_WAIT: u64 = 100_000;
/// Fewer waits than this in a row are spurious or interrupted.
const MOST_WAITS_IN_VAIN: u32 = 100;
/// Fewer waits than this in a row only find that deadlines have moved.
const MOST_IDLE_WAITS: u32 = 1000;

impl World {
    /// Every call begins with this: it takes time, and the process may stall.
    pub(super) fn enter(&mut self) {
        self.calls += 1;
        self.calls_since_wait += 1;
        if self.calls_since_wait > MOST_CALLS_WITHOUT_WAIT {
            self.oracle.fail(self.now, format_args!("an event loop never waits"));
            panic!("an event loop never waits");
        }
        self.advance_to(self.now + self.cost);
        if self.faults.stalls.hits(&mut self.choices) {
            self.stall();
        }
    }

    /// [`World::enter`], for a call that changes something.
    fn enter_to_act(&mut self, me: usize) {
        self.enter();
        self.loops[me].waits_in_vain = 0;
        self.loops[me].idle_waits = 0;
    }

    pub(crate) fn read_clock(&mut self, me: usize) -> u64 {
        self.enter();
        self.oracle.clock_read(self.now, me);
        self.now
    }

    pub(crate) fn address(&self, link: usize) -> SocketAddr {
        self.links[link].address
    }

    fn is_interrupted(&mut self, call: &'static str) -> bool {
        let hits = self.faults.interrupts.hits(&mut self.choices);
        if hits {
            self.coverage.count(call);
        }
        hits
    }

    pub(crate) fn wait(&mut self, me: usize, ready: &mut Vec<Ready>) {
        self.enter();
        self.calls_since_wait = 0;
        ready.clear();
        if self.is_interrupted("EINTR: wait") {
            trace!(self, "loop {me} wait: EINTR");
            return;
        }
        self.report(me, ready);
        self.check_progress(me, !ready.is_empty());
        trace!(self, "loop {me} wait: {ready:?}");
    }

    /// Level-triggered: everything ready is reported each time. What was left out comes first the next time.
    fn report(&mut self, me: usize, ready: &mut Vec<Ready>) {
        let watches = &self.loops[me].watches;
        ready.extend(watches.iter().filter(|watch| self.is_ready(watch)).map(|watch| watch.ready));
        if self.loops[me].is_woken {
            ready.push(Ready::Waker);
        }
        if !self.loops[me].watches.is_empty() && self.faults.spurious.hits(&mut self.choices) {
            let spurious = self.choices.pick(&self.loops[me].watches).ready;
            if !ready.contains(&spurious) {
                self.coverage.count("spurious readiness");
                ready.push(spurious);
            }
        }
        if self.faults.shuffles {
            self.choices.shuffle(ready);
        }
        let left_out = std::mem::take(&mut self.loops[me].left_out);
        ready.sort_by_key(|ready| !left_out.contains(ready));
        if ready.len() > self.batch {
            self.coverage.count("readiness left out");
            self.loops[me].left_out = ready.split_off(self.batch);
        }
    }

    /// An event loop must handle what is reported to it again and again, and deadlines that have passed.
    fn check_progress(&mut self, me: usize, has_reported: bool) {
        let each = &mut self.loops[me];
        each.waits_in_vain += u32::from(has_reported);
        each.idle_waits = if has_reported { 0 } else { each.idle_waits + 1 };
        if each.waits_in_vain > MOST_WAITS_IN_VAIN || each.idle_waits > MOST_IDLE_WAITS {
            self.oracle
                .fail(self.now, format_args!("loop {me} spins: it does not handle what is ready or due"));
        }
    }

    pub(crate) fn wake(&mut self, me: usize) {
        trace!(self, "loop {me} is woken");
        self.loops[me].is_woken = true;
    }

    pub(crate) fn acknowledge_wake(&mut self, me: usize) {
        self.enter_to_act(me);
        trace!(self, "loop {me} acknowledges the wake");
        self.loops[me].is_woken = false;
        self.oracle.acknowledged(me);
    }

    fn add_watch(&mut self, me: usize, watch: Watch) {
        let is_watched =
            self.loops.iter().flat_map(|each| &each.watches).any(|each| each.target == watch.target);
        let has_key = self.loops[me].watches.iter().any(|each| each.ready == watch.ready);
        if is_watched || has_key {
            self.oracle.fail(self.now, format_args!("loop {me} watches {watch:?} twice"));
        }
        self.loops[me].watches.push(watch);
    }

    fn remove_watch(&mut self, target: Target) -> bool {
        let remove = |watches: &mut Vec<Watch>| {
            let count = watches.len();
            watches.retain(|watch| watch.target != target);
            watches.len() < count
        };
        self.loops.iter_mut().any(|each| remove(&mut each.watches))
    }

    pub(crate) fn watch_listener(&mut self, me: usize, listener: usize, index: usize) -> Result<(), Errno> {
        self.enter_to_act(me);
        let fails = self.faults.listener_watch_failures.hits(&mut self.choices);
        self.oracle.watching_listener(self.now, me, listener, fails);
        if fails {
            let errno = *self.choices.pick(&OF_WATCHING);
            trace!(self, "loop {me} watch(listener {listener}): {errno:?}");
            self.coverage.count("listener watch failed");
            return Err(errno);
        }
        trace!(self, "loop {me} watches listener {listener}");
        let (target, ready) = (Target::Listener(listener), Ready::Listener(index));
        self.add_watch(me, Watch { target, ready, interest: Interest::Read });
        Ok(())
    }

    pub(crate) fn forget_listener(&mut self, me: usize, listener: usize) {
        self.enter_to_act(me);
        trace!(self, "loop {me} forgets listener {listener}");
        if !self.remove_watch(Target::Listener(listener)) {
            self.oracle.fail(self.now, format_args!("loop {me} forgets listener {listener}, not watched"));
        }
    }

    /// Returns the link.
    pub(crate) fn accept(&mut self, me: usize, listener: usize) -> Result<usize, Errno> {
        self.enter();
        let waiting = self.listeners[listener].queue.len();
        let outcome = self.try_accept(listener);
        if !matches!(outcome, Err(Errno::AGAIN | Errno::INTR | Errno::INVAL)) {
            self.loops[me].waits_in_vain = 0;
        }
        match outcome {
            Ok(link) => {
                trace!(self, "loop {me} accept({listener}): #{link} {}", self.links[link].address);
                let address = self.links[link].address;
                self.oracle.accepted(self.now, me, listener, link, address, &mut self.coverage);
            }
            Err(errno) => {
                trace!(self, "loop {me} accept({listener}): {errno:?}, {waiting} in the queue");
                self.coverage.count(accept_error(errno));
                self.oracle.accept_failed(self.now, me, listener, errno, &mut self.coverage);
            }
        }
        outcome
    }

    fn try_accept(&mut self, index: usize) -> Result<usize, Errno> {
        if self.faults.interrupts.hits(&mut self.choices) {
            return Err(Errno::INTR);
        }
        // The real kernel allocates the descriptor before it looks into the queue.
        if self.open_descriptors() >= self.faults.descriptors {
            return Err(Errno::MFILE);
        }
        let listener = &mut self.listeners[index];
        if listener.is_dead {
            return Err(Errno::INVAL);
        }
        let Some(&first) = listener.queue.front() else { return Err(Errno::AGAIN) };
        if let Some(errno) = self.faults.failing[index] {
            return Err(errno);
        }
        listener.queue.pop_front();
        if self.faults.dead_in_queue.hits(&mut self.choices) {
            self.links[first].server_reset();
            return Err(*self.choices.pick(&OF_ONE_CONNECTION));
        }
        self.links[first].state = State::Open;
        Ok(first)
    }

    pub(crate) fn watch(
        &mut self,
        me: usize,
        link: usize,
        key: usize,
        interest: Interest,
    ) -> Result<(), Errno> {
        self.enter_to_act(me);
        let fails = self.faults.watch_failures.hits(&mut self.choices);
        self.oracle.watching(self.now, me, link, interest, fails);
        if fails {
            let errno = *self.choices.pick(&OF_WATCHING);
            trace!(self, "loop {me} watch(#{link}): {errno:?}");
            self.coverage.count("watch failed");
            return Err(errno);
        }
        trace!(self, "loop {me} watch(#{link}, {interest:?}) as {key}");
        self.add_watch(me, Watch { target: Target::Link(link), ready: Ready::Connection(key), interest });
        Ok(())
    }

    pub(crate) fn change(
        &mut self,
        me: usize,
        link: usize,
        key: usize,
        interest: Interest,
    ) -> Result<(), Errno> {
        self.enter_to_act(me);
        let fails = self.faults.watch_failures.hits(&mut self.choices);
        self.oracle.watching(self.now, me, link, interest, fails);
        if fails {
            trace!(self, "loop {me} change(#{link}): ENOMEM");
            self.coverage.count("watch not changed");
            return Err(Errno::NOMEM);
        }
        trace!(self, "loop {me} change(#{link}, {interest:?})");
        let target = Target::Link(link);
        let changed = Watch { target, ready: Ready::Connection(key), interest };
        match self.loops[me].watches.iter_mut().find(|watch| watch.target == target) {
            Some(watch) if *watch != changed => *watch = changed,
            Some(_) => self.oracle.fail(self.now, format_args!("loop {me} changes #{link} to what it is")),
            None => self.oracle.fail(self.now, format_args!("loop {me} changes #{link}, not watched")),
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, me: usize, link: usize) {
        self.enter_to_act(me);
        trace!(self, "loop {me} forgets #{link}");
        self.remove_watch(Target::Link(link));
    }

    pub(crate) fn undelivered(&mut self, me: usize, link: usize) -> usize {
        self.enter();
        let bytes = self.links[link].undelivered();
        trace!(self, "loop {me} undelivered(#{link}): {bytes}");
        bytes
    }

    pub(crate) fn receive(&mut self, me: usize, link: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.enter();
        let outcome = if self.is_interrupted("EINTR: receive") {
            Err(Errno::INTR)
        } else {
            let most = self.most_transferred(self.links[link].inbound.len(), "short read");
            self.links[link].receive(buffer, most)
        };
        match outcome {
            Ok(count) => trace!(self, "loop {me} receive(#{link}): {}", Bytes(&buffer[..count])),
            Err(errno) => trace!(self, "loop {me} receive(#{link}): {errno:?}"),
        }
        if !matches!(outcome, Ok(0) | Err(Errno::AGAIN | Errno::INTR)) {
            self.loops[me].waits_in_vain = 0;
        }
        self.oracle.received(self.now, me, link, outcome.map(|count| &buffer[..count]));
        self.room_for_peer(link);
        outcome
    }

    pub(crate) fn send(&mut self, me: usize, link: usize, bytes: &[u8]) -> Result<usize, Errno> {
        self.enter();
        self.oracle.sending(self.now, me, link, bytes);
        let outcome = if self.is_interrupted("EINTR: send") {
            Err(Errno::INTR)
        } else {
            // A short message that meets an empty buffer is taken completely.
            let is_taken_whole = bytes.len() <= 128 && self.links[link].room() == self.links[link].buffer;
            let possible = self.links[link].room().min(bytes.len());
            let most = if is_taken_whole { possible } else { self.most_transferred(possible, "short write") };
            self.links[link].send(bytes, most)
        };
        match outcome {
            Ok(count) => trace!(self, "loop {me} send(#{link}): {count} of {}", Bytes(bytes)),
            Err(errno) => trace!(self, "loop {me} send(#{link}): {errno:?} for {}", Bytes(bytes)),
        }
        match outcome {
            Err(Errno::AGAIN) => self.coverage.count("send buffer full"),
            Err(Errno::INTR) => {}
            _ => self.loops[me].waits_in_vain = 0,
        }
        self.oracle.sent(self.now, me, link, outcome);
        self.transfer(link);
        outcome
    }

    /// How many of these bytes a call may transfer: all, or fewer if a fault is injected.
    fn most_transferred(&mut self, possible: usize, fault: &'static str) -> usize {
        if possible < 2 || !self.faults.short_transfers.hits(&mut self.choices) {
            return usize::MAX;
        }
        self.coverage.count(fault);
        self.choices.size(1, possible - 1)
    }

    pub(crate) fn shut_down(&mut self, me: usize, link: usize) -> Result<(), Errno> {
        self.enter_to_act(me);
        let outcome = if self.is_interrupted("EINTR: shutdown") {
            Err(Errno::INTR)
        } else {
            self.links[link].shut_down()
        };
        trace!(self, "loop {me} shut_down(#{link}): {outcome:?}");
        self.oracle.shut_down(self.now, me, link, outcome);
        self.transfer(link);
        outcome
    }

    /// close(2).
    pub(crate) fn close(&mut self, me: usize, link: usize) {
        self.enter_to_act(me);
        let unread = self.links[link].inbound.len();
        trace!(self, "loop {me} close(#{link}), {unread} bytes unread");
        let undelivered = self.links[link].undelivered();
        self.oracle.closed(self.now, me, link, (unread > 0, undelivered), &mut self.coverage);
        let had_ended = self.links[link].is_over();
        let met_reply = self.links[link].close() && !had_ended;
        self.closed(link, met_reply);
    }

    pub(crate) fn reset(&mut self, me: usize, link: usize) {
        self.enter_to_act(me);
        trace!(self, "loop {me} reset(#{link})");
        let undelivered = self.links[link].undelivered();
        self.oracle.reset(self.now, me, link, undelivered, &mut self.coverage);
        let met_reply = self.links[link].server_reset();
        self.closed(link, met_reply);
    }

    fn closed(&mut self, link: usize, met_reply: bool) {
        self.remove_watch(Target::Link(link));
        if met_reply {
            self.coverage.count("reset met a reply");
        }
        self.transfer(link);
        if self.links[link].peer_end.is_some() {
            self.arrived(link);
        }
        // A peer that waits for room finds the connection closed.
        self.room_for_peer(link);
    }

    /// Closes a listener. Connections in its queue are reset unless another process holds it too.
    pub(crate) fn close_listener(&mut self, listener: usize) {
        let Self { now, listeners, oracle, coverage, .. } = self;
        let each = &mut listeners[listener];
        each.is_open = false;
        oracle.listener_closed(*now, listener, each.queue.len(), each.inherited, coverage);
        trace!(self, "listener {listener} is closed, {} in its queue", self.listeners[listener].queue.len());
        self.remove_watch(Target::Listener(listener));
        if self.listeners[listener].inherited {
            return;
        }
        for link in std::mem::take(&mut self.listeners[listener].queue) {
            self.links[link].server_reset();
            self.arrived(link);
        }
    }

    /// Sent bytes reach the peer as far as it has room.
    fn transfer(&mut self, link: usize) {
        if self.links[link].transfer() {
            self.arrived(link);
        }
    }
}
