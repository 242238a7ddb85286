//! What the oracle knows about one connection.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use super::rules::Moment;
use super::wire::Wire;
use crate::kernel::Interest;
use crate::simulation::trace::Time;

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Model {
    pub(super) phase: Phase,
    /// The event loop of its last call.
    pub(super) owner: usize,
    pub(super) address: SocketAddr,
    pub(super) wire: Wire,
    /// How many bytes of the replies the kernel has taken.
    pub(super) sent: usize,
    /// How many of them the server has offered to it so far.
    pub(super) offered: usize,
    /// How many of them the peer has read.
    pub(super) arrived: usize,
    /// How many replies have been counted.
    pub(super) counted: usize,
    pub(super) interest: Option<Interest>,
    /// The peer's FIN has been read.
    pub(super) end_was_read: bool,
    /// A call has failed in a way that ends the connection.
    pub(super) has_failed: bool,
    /// When the kernel last reported that there was nothing to read, unless bytes were read since.
    pub(super) nothing_to_read: Option<u64>,
    /// When the kernel last reported that there was no room, unless bytes were taken since.
    pub(super) no_room: Option<u64>,
    /// Since the last read, or since stalled replies were all taken.
    pub(super) quiet_since: Moment,
    /// Like [`Model::quiet_since`], but bytes read after the wait was over do not move it.
    pub(super) silent_since: u64,
    pub(super) line_began: Moment,
    /// Since when the peer has read nothing. If it reads too slowly, an earlier time.
    pub(super) stalled_since: Moment,
    /// How many bytes of stalled replies the kernel has taken in this turn.
    pub(super) progress: usize,
    pub(super) is_stalled: bool,
    /// The end of the replies that were offered when it stalled.
    pub(super) stalled_until: usize,
    /// Since the FIN.
    pub(super) finished: Moment,
    pub(super) fin_was_sent: bool,
    /// How many bytes were read while the connection may have had to end, and while it certainly had to.
    pub(super) read_while_may_end: usize,
    pub(super) read_while_must_end: usize,
    pub(super) read_in_turn: usize,
    /// How many connections were served when this one was accepted.
    pub(super) active_before: usize,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not accepted.
    Absent,
    /// Accepted. The calls have not shown yet what happens to it.
    Accepted,
    /// Accepted while all permits were taken: it waits for one, and nothing is done with it.
    Held,
    /// Being served: it has a permit.
    Serving,
    /// Sent `ERRO ocupado`.
    Refused,
    /// Closed at once.
    NotAllowed,
    /// After the server's FIN.
    Lingering,
    Closed,
}

impl Model {
    pub(super) fn new(address: SocketAddr) -> Self {
        let never = Moment { earliest: 0, latest: u64::MAX };
        Self {
            phase: Phase::Absent,
            owner: 0,
            address,
            wire: Wire::default(),
            sent: 0,
            offered: 0,
            arrived: 0,
            counted: 0,
            interest: None,
            end_was_read: false,
            has_failed: false,
            nothing_to_read: None,
            no_room: None,
            quiet_since: never,
            silent_since: 0,
            line_began: never,
            stalled_since: never,
            progress: 0,
            is_stalled: false,
            stalled_until: 0,
            finished: never,
            fin_was_sent: false,
            read_while_may_end: 0,
            read_while_must_end: 0,
            read_in_turn: 0,
            active_before: 0,
        }
    }

    /// Replies that the kernel has not taken.
    pub(super) fn pending(&self) -> usize {
        self.wire.replies.len().saturating_sub(self.sent)
    }

    /// Whether the kernel has reported at `time` or later that there is nothing to read.
    pub(super) fn nothing_since(&self, time: u64) -> bool {
        self.nothing_to_read.is_some_and(|asked| asked >= time)
    }

    /// Whether the kernel has reported at `time` or later that there is no room.
    pub(super) fn no_room_since(&self, time: u64) -> bool {
        self.no_room.is_some_and(|asked| asked >= time)
    }

    pub(super) fn has_been_answered(&self) -> bool {
        !self.wire.counted.is_empty()
    }
}

impl Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wire { partial, has_seen_lf, is_oversize, tail_is_answered, .. } = &self.wire;
        let asked = |time: Option<u64>| time.map_or("never".to_owned(), |time| Time(time).to_string());
        write!(
            formatter,
            "{:?}, loop {}, {} bytes pending, partial line of {} bytes, LF seen {has_seen_lf}, oversize {is_oversize}, \
             tail answered {tail_is_answered}, FIN read {}, failed {}, nothing to read at {}, no room at {}, \
             quiet since {}, line began {}, stalled since {}, FIN sent {}, watched for {:?}",
            self.phase,
            self.owner,
            self.pending(),
            partial.len(),
            self.end_was_read,
            self.has_failed,
            asked(self.nothing_to_read),
            asked(self.no_room),
            Time(self.quiet_since.earliest),
            Time(self.line_began.earliest),
            Time(self.stalled_since.earliest),
            Time(self.finished.earliest),
            self.interest,
        )
    }
}
