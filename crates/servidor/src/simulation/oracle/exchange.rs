//! What is read and sent: every reply is right, complete and in order, and nothing is read while replies are pending.

use rustix::io::Errno;

use super::Oracle;
use super::model::Phase;
use super::rules::Moment;
use super::wire::busy;
use crate::kernel::Interest;
use crate::simulation::world::SECOND;

/// A peer that reads fewer bytes per second counts as not reading.
const LEAST_RATE: u64 = 1024;
/// How much is read from a connection that must end.
pub(super) const MOST_AT_END: usize = 64 * 1024;
/// One read may exceed that limit.
const ONE_READ: usize = 16 * 1024 + 64;

/// How far this many bytes move the write deadline.
pub(super) fn time_for(bytes: usize) -> u64 {
    bytes as u64 * SECOND / LEAST_RATE
}

impl Oracle {
    /// A connection is watched for something, unless that fails.
    pub(in crate::simulation) fn watching(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        interest: Interest,
        fails: bool,
    ) {
        self.called(now, me, link);
        let model = &mut self.models[link];
        model.interest = Some(interest);
        model.has_failed |= fails;
    }

    /// Any call for a connection that is served, refused or lingering.
    fn called(&mut self, now: u64, me: usize, link: usize) {
        self.touch(me, link);
        match self.models[link].phase {
            Phase::Accepted | Phase::Held => self.serve(now, me, link),
            Phase::Absent | Phase::Closed => {
                self.fail_at(now, link, format_args!("is used when it is not open"));
            }
            _ => {}
        }
    }

    pub(in crate::simulation) fn received(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        outcome: Result<&[u8], Errno>,
    ) {
        self.called(now, me, link);
        let is_served = self.models[link].phase == Phase::Serving;
        if is_served && self.models[link].pending() > 0 && !self.models[link].has_failed {
            self.fail_at(now, link, format_args!("is read while replies are pending"));
        }
        let model = &mut self.models[link];
        match outcome {
            Ok([]) => model.end_was_read = true,
            Ok(bytes) => {
                model.nothing_to_read = None;
                model.read_in_turn += bytes.len();
                if is_served {
                    self.read(now, me, link, bytes);
                }
            }
            Err(Errno::AGAIN) => model.nothing_to_read = Some(now),
            Err(Errno::INTR) => {}
            Err(_) => model.has_failed = true,
        }
    }

    /// The server has read these bytes as requests.
    fn read(&mut self, now: u64, me: usize, link: usize, bytes: &[u8]) {
        if self.models[link].wire.tail_is_answered {
            self.fail_at(now, link, format_args!("is read for requests after its last one was answered"));
        }
        let knowledge = &self.loops[me];
        let clock = knowledge.clock;
        let wait = knowledge.least(|rules| rules.unterminated_wait);
        let address = self.models[link].address.ip();
        let may_end = knowledge.stop.is_some() || knowledge.excluded_since(address).is_some();
        let must_end = knowledge.knows_stop || knowledge.possible().all(|rules| !rules.allows(address));
        let model = &mut self.models[link];
        model.quiet_since = Moment::since(clock);
        // Bytes that are read after the wait count as in time, but an incomplete line need not wait again.
        if clock < model.silent_since + wait || model.wire.partial.is_empty() {
            model.silent_since = clock;
        }
        let began_before = !model.wire.partial.is_empty() && !bytes.contains(&b'\n');
        model.wire.feed(bytes);
        if !began_before {
            model.line_began = Moment::since(clock);
        }
        model.read_while_may_end += if may_end { bytes.len() } else { 0 };
        model.read_while_must_end += if must_end { bytes.len() } else { 0 };
        if model.read_while_must_end > MOST_AT_END + ONE_READ {
            self.fail_at(now, link, format_args!("is read without a bound although it must end"));
        }
    }

    /// The server offers these bytes to the kernel.
    pub(in crate::simulation) fn sending(&mut self, now: u64, me: usize, link: usize, bytes: &[u8]) {
        self.touch(me, link);
        let may_be_refused = matches!(self.models[link].phase, Phase::Accepted | Phase::Held);
        if may_be_refused && bytes == busy() {
            self.refuse(now, me, link);
        }
        if bytes.is_empty() {
            self.fail_at(now, link, format_args!("is sent nothing"));
        }
        match self.models[link].phase {
            Phase::Serving => self.check_replies(now, me, link, bytes),
            Phase::Refused if bytes == &self.models[link].wire.replies[self.models[link].sent..] => {}
            _ => self.fail_at(now, link, format_args!("is sent {} bytes that are no reply", bytes.len())),
        }
    }

    fn check_replies(&mut self, now: u64, me: usize, link: usize, bytes: &[u8]) {
        let model = &self.models[link];
        let pending = &model.wire.replies[model.sent..];
        if bytes.len() > pending.len() && !model.wire.partial.is_empty() && self.may_answer_tail(me, link) {
            self.models[link].wire.answer_tail();
        }
        let model = &mut self.models[link];
        if !model.wire.replies[model.sent..].starts_with(bytes) {
            let expected = model.wire.replies[model.sent..].escape_ascii().to_string();
            let tail = model.wire.tail_reply().escape_ascii().to_string();
            let (expected, offered) = (expected.chars().take(200).collect::<String>(), bytes.escape_ascii());
            let offered = offered.to_string().chars().take(200).collect::<String>();
            return self.fail_at(
                now,
                link,
                format_args!(
                    "is sent \"{offered}\" where \"{expected}\" is expected; a tail would get \"{tail}\""
                ),
            );
        }
        model.offered = model.offered.max(model.sent + bytes.len());
        let model = &mut self.models[link];
        while let Some((begin, counted)) = model.wire.counted.get(model.counted)
            && *begin < model.offered
        {
            self.ledger.requests[*counted as usize] += 1;
            model.counted += 1;
        }
    }

    /// Whether a line without an end may be taken for a request now.
    fn may_answer_tail(&self, me: usize, link: usize) -> bool {
        let (model, knowledge) = (&self.models[link], &self.loops[me]);
        let wait = knowledge.least(|rules| rules.unterminated_wait);
        let is_silent = !model.wire.has_seen_lf && model.nothing_since(model.silent_since + wait);
        let is_stopping = knowledge.stop.is_some_and(|stop| {
            let line_end = model.line_began.earliest + knowledge.least(|rules| rules.line_timeout);
            let may_ask_until = stop.first_request.min(line_end);
            model.nothing_since(if model.has_been_answered() { stop.began } else { may_ask_until })
        });
        let is_excluded =
            knowledge.excluded_since(model.address.ip()).is_some_and(|since| model.nothing_since(since));
        model.end_was_read || is_silent || is_stopping || is_excluded
    }

    pub(in crate::simulation) fn sent(
        &mut self,
        now: u64,
        me: usize,
        link: usize,
        outcome: Result<usize, Errno>,
    ) {
        let clock = self.loops[me].clock;
        let model = &mut self.models[link];
        match outcome {
            Ok(count) => {
                model.sent += count;
                model.no_room = None;
                if model.is_stalled {
                    model.progress += count;
                    let moved = model.stalled_since.earliest + time_for(count);
                    model.stalled_since.earliest = moved.min(clock);
                }
                if model.is_stalled && model.sent >= model.stalled_until {
                    model.is_stalled = false;
                    model.quiet_since = Moment::since(clock);
                    model.line_began.latest = u64::MAX;
                }
            }
            Err(Errno::AGAIN) => {
                model.no_room = Some(now);
                if !model.is_stalled {
                    model.is_stalled = true;
                    model.stalled_until = model.offered;
                    model.stalled_since = Moment::since(clock);
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => model.has_failed = true,
        }
    }

    /// At the end of a turn: connections with pending replies wait for room, all others for bytes.
    pub(super) fn check_interest(&mut self, now: u64, link: usize) {
        let model = &self.models[link];
        let expected = if model.pending() > 0 { Interest::Write } else { Interest::Read };
        match model.phase {
            Phase::Serving if model.interest.is_some_and(|interest| interest != expected) => {
                self.fail_at(now, link, format_args!("is not watched for {expected:?}"));
            }
            Phase::Lingering if model.interest == Some(Interest::Write) => {
                self.fail_at(now, link, format_args!("lingers, and is not watched for Read"));
            }
            Phase::Lingering if !model.fin_was_sent && !model.has_failed => {
                self.fail_at(now, link, format_args!("lingers without a FIN"));
            }
            _ => {}
        }
    }
}
