//! What to do after an error of accept(2): the same for every listener.

use std::time::Duration;

use rustix::io::Errno;

/// How long nobody is accepted where trying again at once would fail again.
pub const PAUSE: Duration = Duration::from_millis(100);
/// Connections that fail one after the other: more are no coincidence.
const MAX_IN_A_ROW: u32 = 16;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterError {
    /// Accept the next connection: this one ended while it was in the queue.
    Next,
    /// Accept nobody for [`PAUSE`].
    Pause,
    /// Give up: the socket does not listen any more.
    GiveUp,
}

/// The errors that one listener has had since its last connection.
#[derive(Debug, Default)]
pub struct AcceptErrors {
    in_a_row: u32,
}

impl AcceptErrors {
    /// A connection was accepted, or none was there.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
    }

    /// Takes note of an error other than EAGAIN and EINTR.
    ///
    /// Linux passes errors that are already pending on the new connection through accept(2). They ask for no pause,
    /// unless there is no end of them. Errors that leave the connection in the queue do: a loop would spin.
    pub fn after(&mut self, error: Errno) -> AfterError {
        let next = match error {
            Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::PROTO
            | Errno::TIMEDOUT => AfterError::Next,
            // EINVAL: it was shut down, from here or from another process.
            Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK => AfterError::GiveUp,
            // Files or memory have run out, a security module or a firewall refuses, or it is unknown.
            _ => AfterError::Pause,
        };
        if next != AfterError::Next {
            return next;
        }
        self.in_a_row += 1;
        if self.in_a_row < MAX_IN_A_ROW {
            return AfterError::Next;
        }
        self.in_a_row = 0;
        AfterError::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_do_not_keep_the_next_one_waiting() {
        for error in [Errno::CONNABORTED, Errno::PROTO, Errno::HOSTDOWN, Errno::NONET, Errno::NETDOWN] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::Next, "{error}");
        }
    }

    #[test]
    fn errors_that_leave_the_connection_in_the_queue_ask_for_a_pause() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM, Errno::ACCESS] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::Pause, "{error}");
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_is_given_up() {
        for error in [Errno::INVAL, Errno::BADF, Errno::NOTSOCK] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::GiveUp, "{error}");
        }
    }

    #[test]
    fn errors_in_a_row_end_in_a_pause_unless_a_connection_comes_between() {
        let mut errors = AcceptErrors::default();
        for round in 0..2 {
            for _ in 1..MAX_IN_A_ROW {
                assert_eq!(errors.after(Errno::NETDOWN), AfterError::Next, "round {round}");
            }
            assert_eq!(errors.after(Errno::NETDOWN), AfterError::Pause, "round {round}");
        }
        for _ in 0..3 * MAX_IN_A_ROW {
            errors.reset();
            assert_eq!(errors.after(Errno::NETDOWN), AfterError::Next);
        }
    }
}
